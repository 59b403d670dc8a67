"""Targets that store tables as CSV files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

from cpr.csv.table import CSV, by_extension
from cpr.data.argument_types import CSVTargetArguments, Path
from cpr.data.tables.TableTarget import TableTarget
from cpr.records.registry import register

__all__ = ["CSVTarget"]


@register
class CSVTarget(TableTarget):
    """A DataFrame, stored as an ordinary CSV file (`.csv`, `.csv.gz`), that comes back as it was.

    Labels, dtypes and index are kept in the record. Option: `separator` (",").

    >>> target = cpr.CSVTarget.from_path("memory://doc/cells.csv")
    >>> target.set_data(pd.DataFrame({"cell": ["007", None], "area": [1.5, 2.5]}))
    >>> cpr.load(target.serialize()).get_data()["cell"].tolist()
    ['007', nan]
    """

    format_class = CSV

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[CSVTargetArguments]) -> Self: ...

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:
        return super()._make_format(ext, by_extension(ext, dict(options)))
