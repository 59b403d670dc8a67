"""CSV files, plain and gzipped: tables of any dtype that text can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr._lazy import make_lazy

if TYPE_CHECKING:
    from cpr.csv.CSVSource import CSVSource
    from cpr.csv.CSVTarget import CSVTarget

__all__ = ["CSVSource", "CSVTarget"]

make_lazy(__name__, {"CSVSource": "cpr.csv.CSVSource", "CSVTarget": "cpr.csv.CSVTarget"})
