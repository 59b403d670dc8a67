"""Types for type checkers and editors: the options of each `from_path`, and the arguments of `set_data`.

The formats' dataclasses are what options really are; a test holds both together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Array",
    "ArrayData",
    "CSVSourceArguments",
    "CSVTargetArguments",
    "ImageSourceArguments",
    "ImageTargetArguments",
    "NoArguments",
    "OMEPlateTargetArguments",
    "OMEZarrTargetArguments",
    "ParquetTargetArguments",
    "Path",
    "TableData",
    "ZarrSourceArguments",
    "ZarrTargetArguments",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Path: TypeAlias = "str | os.PathLike[str]"
_Label: TypeAlias = int | str
_Bounds: TypeAlias = "Sequence[int | None] | None"


class _Lazy(Protocol):
    """A lazy array: dask, zarr, a memory-mapped file and the like."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, region: Any, /) -> Any: ...


class _LazyTable(Protocol):
    """A dask DataFrame."""

    @property
    def npartitions(self) -> int: ...
    def get_partition(self, n: int, /) -> Any: ...


ArrayData: TypeAlias = "Array | _Lazy | Iterable[Array]"
"""Of targets of arrays: in memory, elsewhere, or planes that pass."""

TableData: TypeAlias = "pd.DataFrame | Iterator[pd.DataFrame] | Sequence[pd.DataFrame] | _LazyTable"
"""Of targets of tables: a table, or chunks of one."""


class ImageMetadata(TypedDict, total=False):
    """The known metadata keys; see `cpr.data.image_metadata` for those of ImageJ and OME that are kept."""

    axes: str
    unit: str
    spacing: float
    finterval: float
    Channel: Mapping[str, Any]
    custom: Mapping[str, Any]


class NoArguments(TypedDict):
    """The options of a class that has none."""


class _Calibration(TypedDict, total=False):
    metadata: ImageMetadata | Mapping[str, Any] | None
    resolution: Sequence[float] | None
    pixel_size: float | Sequence[float] | None
    unit: str | None
    custom: Mapping[str, Any] | None
    like: Any


class ImageTargetArguments(_Calibration, total=False):
    """The options of `ImageTarget.from_path`."""

    compression: Literal["zlib", "zstd", "lzw"] | None
    level: int | None
    predictor: bool | None
    imagej: bool | None
    ome: bool


class ImageSourceArguments(_Calibration, total=False):
    """The options of `ImageSource.from_path`."""

    image: int | str | None
    description: bool


class CSVTargetArguments(TypedDict, total=False):
    """The options of `CSVTarget.from_path`."""

    separator: str
    compression: Literal["gzip"] | None


class CSVSourceArguments(TypedDict, total=False):
    """The options of `CSVSource.from_path`."""

    sep: str | None
    separator: str | None
    decimal: str
    encoding: str
    index_col: bool | _Label | Sequence[_Label] | None
    index: bool | _Label | Sequence[_Label] | None
    dtype: Any
    usecols: Sequence[_Label] | None
    parse_dates: bool | Sequence[_Label] | None
    compression: Literal["gzip"] | None


class ParquetTargetArguments(TypedDict, total=False):
    """The options of `ParquetTarget.from_path`."""

    compression: Literal["zstd", "snappy", "gzip"] | None


class ZarrSourceArguments(TypedDict, total=False):
    """The options of `ZarrSource.from_path`."""

    group: str | None
    slices_start: _Bounds
    slices_stop: _Bounds
    mode: Literal["r", "r+", "a", "w"]
    version: Literal["listing", "metadata"] | None


class _Chunked(TypedDict, total=False):
    chunks: Sequence[int] | None
    shards: Sequence[int] | None
    compressors: Any
    fill_value: Any
    attributes: Mapping[str, Any] | None
    shape: Sequence[int] | None
    dtype: Any
    base: Any


class ZarrTargetArguments(_Chunked, total=False):
    """The options of `ZarrTarget.from_path`."""

    level: int | None
    dimension_names: Sequence[str | None] | None
    zarr_format: Literal[2, 3]


class OMEPlateTargetArguments(TypedDict, total=False):
    """The options of `OMEPlateTarget.from_path`."""

    rows: int | Sequence[str] | None
    columns: int | Sequence[str] | None
    acquisitions: Mapping[int, str] | None
    name: str | None


class OMEZarrTargetArguments(_Chunked, _Calibration, total=False):
    """The options of `OMEZarrTarget.from_path`."""

    levels: int | None
    downscale: str
    downsample: Literal["mean", "mode"]
    name: str | None
    colors: Sequence[str] | None
    windows: Sequence[tuple[float, float]] | None
