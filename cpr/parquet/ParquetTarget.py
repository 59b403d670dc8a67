"""Targets that store tables as Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, Unpack

from cpr.data.argument_types import ParquetTargetArguments, Path
from cpr.data.tables.TableTarget import TableTarget
from cpr.parquet.table import Parquet
from cpr.records.registry import register

__all__ = ["ParquetTarget"]


@register
class ParquetTarget(TableTarget):
    """A DataFrame, stored as a Parquet file, that comes back as it was.

    Option: `compression` ("zstd", "snappy", "gzip" or None).

    >>> target = cpr.ParquetTarget.from_path("memory://doc/cells.parquet")
    >>> target.set_data(pd.DataFrame({"cell": ["007", None], "area": [1.5, 2.5]}))
    >>> cpr.load(target.serialize()).get_data()["cell"].tolist()
    ['007', nan]
    """

    format_class = Parquet

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[ParquetTargetArguments]) -> Self: ...
