"""The catalogue: a columnar cache of records, in files beside them; see docs/decisions/catalogue.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain

from cpr import io
from cpr.io.stores.listings import Page
from cpr.operations.object_names import is_data
from cpr.operations.scan import lines, list_pages

__all__ = ["Place", "look_at"]

_FEW = 256  # objects, which are read sooner than pyarrow is imported
_LITTLE_BYTES = 4 << 20  # of records


@dataclass(frozen=True)
class Place:
    """A results URL that is being listed.

    Attributes:
        pages: of the listing, all of them, once.
        is_large: whether there is more than a few small objects, and pyarrow to keep columns with.
        total: how many objects may be records; None where that is not known yet.
    """

    pages: Iterator[Page]
    is_large: bool
    total: int | None = None


def look_at(url: str) -> Place:
    """Start to list a results URL, far enough to see whether using the catalogue pays.

    Raises ResourceNotFoundError and TransferError, here and while the pages are gone through.
    """
    rest = list_pages(io.normalise(url))
    if find_spec("pyarrow") is None:
        return Place(rest, False)
    seen: list[Page] = []
    count = total = 0
    for page in rest:
        seen.append(page)
        count += len(page.names)
        total += sum(0 if is_data(place) else nbytes for place, nbytes, _, _ in page.lines())
        if count >= _FEW or total > _LITTLE_BYTES:
            return Place(chain(seen, rest), True)
    return Place(iter(seen), False, sum(not is_data(line[0]) for line in lines(seen)))
