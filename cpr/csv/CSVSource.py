"""CSV files as input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

import pandas as pd

from cpr.csv.foreign import ForeignCSV, in_words_of_pandas
from cpr.csv.table import by_extension
from cpr.data.argument_types import CSVSourceArguments, Path
from cpr.format import Region
from cpr.records.registry import register
from cpr.Source import Source

__all__ = ["CSVSource"]


@register
class CSVSource(Source):
    """An existing CSV file (`.csv`, `.tsv`, also with `.gz`), read as `pandas.read_csv` does.

    Options, in pandas' words: `sep` (None guesses), `decimal`, `thousands`, `encoding`, `index_col`, `dtype`,
    `usecols`, `parse_dates`, `header`, `names`, `skiprows`, `comment`, `na_values`, `keep_default_na`,
    `quotechar`; `separator` and `index` are the same as `sep` and `index_col`.

    >>> source = cpr.CSVSource.from_path("s3://bucket/raw/plate.csv.gz", sep=";", decimal=",")
    >>> source.get_name(), source.format.separator
    ('plate', ';')
    """

    format_class = ForeignCSV

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[CSVSourceArguments]) -> Self: ...

        def get_data(self, cache: bool = False, region: Region | None = None) -> pd.DataFrame: ...

    old_defaults = {"index": 0}  # noqa: RUF012

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:
        return super()._make_format(ext, by_extension(ext, in_words_of_pandas(options)))
