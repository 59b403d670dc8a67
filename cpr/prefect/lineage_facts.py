"""Input of lineage events: a stored result, and the provenance that its run has set."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cpr.provenance.provenance_record import Made

__all__ = ["Layouts", "ReportedResult", "Signed"]

Layouts = list[tuple[list[str | None], list[Any]]]
"""The `data_hash` of targets, and the layouts of those that are arrays."""


@dataclass(frozen=True)
class Signed:
    """The provenance that a run has set on its targets, complete even if records had no room.

    Attributes:
        made: their provenance.
        layouts: of those that are arrays.
    """

    made: Made
    layouts: Layouts = field(default_factory=list)

    def layout_of(self) -> dict[str | None, Any]:
        """Layouts by `data_hash`, which covers shape and dtype too."""
        return {
            data_hash: layout
            for some in self.layouts
            for data_hash, layout in zip(*some, strict=True)
            if layout is not None
        }


@dataclass(frozen=True)
class ReportedResult:
    """A stored result, queued for an event.

    Attributes:
        text: of its record.
        made: what results of the run say; None where the result is another run's, which it names itself.
        signed: the run's, if it has made targets.
        at: when it was stored.
        logger: of the run.
    """

    text: bytes
    made: Made | None
    signed: Signed | None
    at: datetime
    logger: Any
