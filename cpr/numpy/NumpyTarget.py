"""Targets that store arrays as NPY files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, Unpack

from cpr.data.argument_types import Array, NoArguments, Path
from cpr.data.ArrayTarget import ArrayTarget
from cpr.format import Region
from cpr.numpy.npy import NPY
from cpr.records.registry import register

__all__ = ["NumpyTarget"]


@register
class NumpyTarget(ArrayTarget):
    """An array of any shape and plain dtype, stored as an NPY file.

    >>> target = cpr.NumpyTarget.from_path("memory://doc/kernel.npy")
    >>> target.set_data(np.eye(3))
    >>> cpr.load(target.serialize()).get_data(region=1)
    array([0., 1., 0.])
    """

    format_class = NPY

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[NoArguments]) -> Self: ...

        def get_data(self, cache: bool = False, region: Region | None = None) -> Array: ...
