"""The catalogue: what records say, as columns in files beside them; see docs/decisions/catalogue.md."""

from __future__ import annotations

from importlib.util import find_spec

from cpr import io
from cpr.operations.object_names import is_data
from cpr.operations.scan import lines

__all__ = ["is_worth_it"]

_FEW = 256  # objects, which are read sooner than pyarrow is imported
_LITTLE_BYTES = 4 << 20  # of records


def is_worth_it(url: str) -> bool:
    """Whether there is more under a URL than a few small objects, and pyarrow is installed.

    Raises ResourceNotFoundError and TransferError.
    """
    if find_spec("pyarrow") is None:
        return False
    total = 0
    for count, (place, nbytes, *_) in enumerate(lines(io.normalise(url)), 1):
        total += 0 if is_data(place) else nbytes
        if count >= _FEW or total > _LITTLE_BYTES:
            return True
    return False
