"""Filters results by task, flow, run, name and age."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cpr.operations.result import Result, is_called

__all__ = ["ResultFilter"]


@dataclass(frozen=True)
class ResultFilter:
    """Conditions on a result; all that are given must hold.

    Attributes:
        task: name of the task that made it.
        flow: name of the flow.
        flow_run: id of the flow's run, or how that begins; dashes do not matter.
        name: its URL or file name, or how the file name begins.
        before: its record was written earlier than this.
    """

    task: str | None = None
    flow: str | None = None
    flow_run: str | None = None
    name: str | None = None
    before: datetime | None = None

    @property
    def run_digits(self) -> str | None:
        """`flow_run` in the spelling of records."""
        return None if self.flow_run is None else self.flow_run.replace("-", "").lower()

    def takes(self, one: Result) -> bool:
        """Whether a result fulfils the conditions."""
        made = one.reference.made
        known = (made.task, made.flow, made.flow_run or "") if made is not None else (None, None, "")
        return (
            self.task in (None, known[0])
            and self.flow in (None, known[1])
            and (self.run_digits is None or known[2].startswith(self.run_digits))
            and (self.before is None or one.recorded < self.before)
            and (self.name is None or is_called(one, self.name))
        )
