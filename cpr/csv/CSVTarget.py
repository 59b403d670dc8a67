"""Tables as CSV files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpr.csv.table import CSV, compression_of
from cpr.data.tables import frames_of
from cpr.records.registry import register
from cpr.Target import Target

__all__ = ["CSVTarget"]


@register
class CSVTarget(Target):
    """A DataFrame, stored as an ordinary CSV file (`.csv`, `.csv.gz`), that comes back as it was.

    Labels, dtypes and index are kept in the record. Option: `separator` (",").

    >>> target = cpr.CSVTarget.from_path("memory://doc/cells.csv")
    >>> target.set_data(pd.DataFrame({"cell": ["007", None], "area": [1.5, 2.5]}))
    >>> cpr.load(target.serialize()).get_data()["cell"].tolist()
    ['007', nan]
    """

    format_class = CSV

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:
        return super()._make_format(ext, compression_of(ext, dict(options)))

    def set_data(self, data: Any) -> None:
        """Fill the target with a table, or stream one to it.

        Args:
            data: a DataFrame (held until it is persisted), or, written at once and never held: an
                iterable of DataFrames, chunks of one table in their order, or a dask DataFrame.

        Raises:
            EncodeError: no table, a column that CSV cannot hold (`field` names it), or chunks that
                do not fit together.
            TransferError, ResourceNotFoundError: a stream could not be written; nothing is visible.
        """
        super().set_data(frames_of(data))
