"""Reads CSV files of custom-prefect-result, and computes the pandas hashes by which it named them.

Source: its `cpr/csv/CSVTarget.py`, https://github.com/fmi-faim/custom-prefect-result.
"""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from cpr.format import ReadableFile, damaged
from cpr.io.hashing import hex16

__all__ = ["predecessor_hash", "read_as_predecessor"]


def read_as_predecessor(file: ReadableFile, options: dict[str, Any]) -> pd.DataFrame:
    """Read the table, with row labels in the first column. Raises DecodeError for invalid CSV."""
    try:
        # Its stubs do not know all options.
        read: Any = pd.read_csv
        frame: pd.DataFrame = read(io.BytesIO(file.read()), index_col=0, **options)
    except (ValueError, OverflowError, LookupError, pd.errors.ParserError) as error:
        raise damaged("not a CSV file", "rows of cells", ascii(str(error))[:200]) from error
    return frame


def predecessor_hash(frame: pd.DataFrame) -> str:
    """The predecessor's hash: 16 hex digits of all rows and their labels, without column names.

    >>> predecessor_hash(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}))
    'bd65b6b405b5d6d6'
    """
    return hex16(pd.util.hash_pandas_object(frame).to_numpy().tobytes())
