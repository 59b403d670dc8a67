"""NPY files: numpy arrays of any shape and plain dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr._lazy import make_lazy

if TYPE_CHECKING:
    from cpr.numpy.NumpySource import NumpySource
    from cpr.numpy.NumpyTarget import NumpyTarget

__all__ = ["NumpySource", "NumpyTarget"]

make_lazy(
    __name__,
    {"NumpySource": "cpr.numpy.NumpySource", "NumpyTarget": "cpr.numpy.NumpyTarget"},
)
