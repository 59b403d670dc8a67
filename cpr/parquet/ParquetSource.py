"""Parquet files as input."""

from __future__ import annotations

from cpr.parquet.table import ForeignParquet
from cpr.records.registry import register
from cpr.Source import Source

__all__ = ["ParquetSource"]


@register
class ParquetSource(Source):
    """A Parquet file that somebody else wrote, as a DataFrame.

    A folder of parts is a source for each: `pd.concat(part.get_data() for part in
    ParquetSource.glob(f"{folder}/*"))`.

    >>> cpr.ParquetSource.from_path("s3://bucket/raw/cells.parquet").get_name()
    'cells'
    """

    format_class = ForeignParquet
