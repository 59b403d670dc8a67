"""The base class of targets for tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from cpr.data.argument_types import TableData
from cpr.data.tables.frames import frames_of
from cpr.format import Region
from cpr.Target import Target

__all__ = ["TableTarget"]

_BYTES_OF_A_TEXT, _BYTES_OF_A_POINTER = 64, 8


class TableTarget(Target):
    """A target for a DataFrame, or for a stream of chunks of one table."""

    def set_data(self, data: TableData) -> None:
        """Fill the target with a table, or stream one to it.

        Args:
            data: a DataFrame (held until it is persisted), or, written at once and never held: an
                iterable of DataFrames, chunks of one table in their order, or a dask DataFrame.

        Raises:
            EncodeError: no table, a column that the format cannot hold (`field` names it), or chunks that
                do not fit together.
            MissingDependencyError: Parquet, without pyarrow.
            TransferError, ResourceNotFoundError: a stream could not be written; nothing is visible.
        """
        super().set_data(frames_of(data))

    @property
    def held_bytes(self) -> int:
        """Approximate bytes of data in memory that `persist` will write."""
        if self._data is None:
            return 0
        # A text takes some times as much as the pointer to it.
        return int(self._data.memory_usage().sum()) * _BYTES_OF_A_TEXT // _BYTES_OF_A_POINTER

    if TYPE_CHECKING:

        def get_data(self, cache: bool = False, region: Region | None = None) -> pd.DataFrame: ...
