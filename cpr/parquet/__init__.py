"""Parquet files: tables in columns and row groups, with pyarrow (`pip install "prefect-cpr[parquet]"`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr._lazy import make_lazy

if TYPE_CHECKING:
    from cpr.parquet.ParquetSource import ParquetSource
    from cpr.parquet.ParquetTarget import ParquetTarget

__all__ = ["ParquetSource", "ParquetTarget"]

make_lazy(
    __name__,
    {"ParquetSource": "cpr.parquet.ParquetSource", "ParquetTarget": "cpr.parquet.ParquetTarget"},
)
