"""The catalogue: what records say, as columns in files beside them; see docs/decisions/catalogue.md."""

from __future__ import annotations

import itertools
from importlib.util import find_spec

from cpr import io
from cpr.operations.scan import lines

__all__ = ["is_worth_it"]

_FEW = 256  # objects, which are read sooner than pyarrow is imported


def is_worth_it(url: str) -> bool:
    """Whether there is more under a URL than a few objects, and pyarrow is installed.

    Raises ResourceNotFoundError and TransferError.
    """
    if find_spec("pyarrow") is None:
        return False
    return sum(1 for _ in itertools.islice(lines(io.normalise(url)), _FEW)) == _FEW
