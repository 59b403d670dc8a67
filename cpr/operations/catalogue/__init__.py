"""The catalogue: what records say, as columns in files beside them; see docs/decisions/catalogue.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain

from cpr import io
from cpr.io.stores.base import Line
from cpr.operations.object_names import is_data
from cpr.operations.scan import lines

__all__ = ["Place", "look_at"]

_FEW = 256  # objects, which are read sooner than pyarrow is imported
_LITTLE_BYTES = 4 << 20  # of records


@dataclass(frozen=True)
class Place:
    """A results URL that is being listed.

    Attributes:
        lines: of the listing, all of them, once.
        is_large: whether there is more than a few small objects, and pyarrow to keep columns with.
        total: how many objects may be records; None where that is not known yet.
    """

    lines: Iterator[Line]
    is_large: bool
    total: int | None = None


def look_at(url: str) -> Place:
    """Begin to list a results URL, as far as it takes to see whether the catalogue is worth it.

    Raises ResourceNotFoundError and TransferError, here and while the lines are gone through.
    """
    rest = lines(io.normalise(url))
    if find_spec("pyarrow") is None:
        return Place(rest, False)
    seen: list[Line] = []
    total = 0
    for line in rest:
        seen.append(line)
        total += 0 if is_data(line[0]) else line[1]
        if len(seen) >= _FEW or total > _LITTLE_BYTES:
            return Place(chain(seen, rest), True)
    return Place(iter(seen), False, sum(not is_data(line[0]) for line in seen))
