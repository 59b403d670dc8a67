"""Writes blocks of dask arrays; uploads to a distant store overlap with the computation of the next block.

As many threads of this process compute blocks as there are cores. With high latency these would mostly wait:
so a block is uploaded in the background while its thread computes the next one.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from cpr.io.transfer_width import width_of
from cpr.zarr.writing_behind import WritingBehind

__all__ = ["BlockWriter", "Shape", "array_of_one_object", "is_on_worker"]

Shape = tuple[int, ...]


class BlockWriter:
    """Writes a block in its thread, or in the background if the store is distant.

    Called by dask, it returns an array of one object: the result of `write`, or None if `behind` writes it.

    Args:
        url: of the hierarchy that is written.
        behind: background writes of this process; not pickled with this object.
    """

    def __init__(self, url: str, behind: WritingBehind) -> None:
        self._url = url
        self._behind: WritingBehind | None = behind

    def write(self, block: Any, index: Shape) -> Any:
        """Write the block at a position of the block grid, and return its result."""
        raise NotImplementedError

    def __call__(self, block: Any, block_id: Shape = ()) -> Any:
        """Called by dask with a block and its position."""
        found = None
        if self._behind is not None and not is_on_worker() and width_of(self._url, "write").is_far:
            # The memory of a block may be reused for the next one.
            own = np.array(block)
            self._behind.begin(partial(self.write, own, block_id), own.nbytes)
        else:
            found = self.write(block, block_id)
        return array_of_one_object(found, len(block_id))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_behind": None}


def is_on_worker() -> bool:
    """Whether a worker of a Dask cluster runs this, rather than Dask computing in this process."""
    if "distributed" in sys.modules:
        from distributed import get_worker

        with suppress(ValueError):
            get_worker()
            return True
    return False


def array_of_one_object(value: Any, ndim: int) -> Any:
    """An array of one Python object."""
    box = np.empty((1,) * ndim, object)
    box[(0,) * ndim] = value
    return box
