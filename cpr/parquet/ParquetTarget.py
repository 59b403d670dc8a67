"""Tables as Parquet files."""

from __future__ import annotations

from typing import Any

from cpr.data.tables import frames_of
from cpr.parquet.table import Parquet
from cpr.records.registry import register
from cpr.Target import Target

__all__ = ["ParquetTarget"]


@register
class ParquetTarget(Target):
    """A DataFrame, stored as a Parquet file, that comes back as it was.

    Option: `compression` ("zstd", "snappy", "gzip" or None).

    >>> target = cpr.ParquetTarget.from_path("memory://doc/cells.parquet")
    >>> target.set_data(pd.DataFrame({"cell": ["007", None], "area": [1.5, 2.5]}))
    >>> cpr.load(target.serialize()).get_data()["cell"].tolist()
    ['007', nan]
    """

    format_class = Parquet

    def set_data(self, data: Any) -> None:
        """Fill the target with a table, or stream one to it.

        Args:
            data: a DataFrame (held until it is persisted), or, written at once in row groups and never
                held: an iterable of DataFrames, chunks of one table in their order, or a dask DataFrame.

        Raises:
            EncodeError: no table, a column that cannot be held (`field` names it), or chunks that do not
                fit together.
            MissingDependencyError: pyarrow is not installed.
            TransferError, ResourceNotFoundError: a stream could not be written; nothing is visible.
        """
        super().set_data(frames_of(data))
