"""CSV files as input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpr.csv.table import ForeignCSV, compression_of
from cpr.records.registry import register
from cpr.Source import Source

__all__ = ["CSVSource"]


@register
class CSVSource(Source):
    """A CSV file (`.csv`, `.csv.gz`) that somebody else wrote, read as `pandas.read_csv` does.

    Options: `separator` (","), `encoding` ("utf-8"), `index` (the number of the column of row labels).

    >>> cpr.CSVSource.from_path("s3://bucket/raw/plate.csv.gz", separator=";").get_name()
    'plate'
    """

    format_class = ForeignCSV

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:
        return super()._make_format(ext, compression_of(ext, dict(options)))
