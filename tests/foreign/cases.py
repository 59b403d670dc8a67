"""Files of every kind that cpr writes, and what every reader of them should find."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

import cpr
from cpr.image import layout

CANONICAL = "TZCYXS"
EXTENTS = {"T": 3, "Z": 4, "C": 2, "Y": 20, "X": 24, "S": 3}
METRES = {
    "angstrom": 1e-10, "nm": 1e-9, "micron": 1e-6, "mm": 1e-3, "cm": 1e-2, "inch": 0.0254, "m": 1.0,
}  # fmt: skip
DTYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
    "complex64", "complex128", "bool",
)  # fmt: skip
OME_DTYPES = [name for name in DTYPES if name not in {"uint64", "int64", "float16"}]


@dataclass
class Case:
    """A file, and what is in it.

    Attributes:
        name: of the case.
        kind: "ImageJ TIFF", "OME-TIFF" ...
        path: of the file or folder.
        axes: of the pixels as they are stored, with `shape` and `dtype`.
        pixels: digest of them in the order of `CANONICAL`; `pages` in the order of the file.
        size: metres of a pixel along x, y and z, as far as known; `interval` in seconds.
        channels: their names.
        columns: of a table: name -> values.
        options: what the file was written with.
    """

    name: str
    kind: str
    path: str
    axes: str = ""
    shape: list[int] = field(default_factory=list)
    dtype: str = ""
    pixels: str = ""
    pages: str = ""
    size: dict[str, float] = field(default_factory=dict)
    interval: float | None = None
    channels: list[str] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def extents(self) -> dict[str, int]:
        """Of the axes with more than one element."""
        return {letter: n for letter, n in zip(self.axes, self.shape, strict=True) if n > 1}


def noise(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random elements all over the range of a dtype, always the same."""
    random = np.random.default_rng(math.prod(shape) + len(dtype))
    if dtype == "bool":
        return random.random(shape) > 0.5
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return random.integers(info.min, info.max, shape, dtype, endpoint=True)
    values = random.normal(0, 100, shape)
    return (values * (1 + 2j) if dtype.startswith("c") else values).astype(dtype)


def digest(array: np.ndarray) -> str:
    """Of the elements in C order, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).hexdigest()[
        :16
    ]


def canonical(array: np.ndarray, axes: str) -> np.ndarray:
    """With the axes of `CANONICAL`, of which any may have one element."""
    order = sorted(range(len(axes)), key=lambda i: CANONICAL.index(axes[i]))
    return array.transpose(order)


def image(
    folder: Path, kind: str, name: str, axes: str, dtype: str, unit: str | None = "micron", **options: Any
) -> Case:
    """Write an image whose pixels have 0.25 x 0.5 of a unit, and planes 2 of them apart."""
    zarr = kind == "OME-Zarr"
    shape = tuple(EXTENTS[letter] for letter in axes)
    array = noise(shape, dtype)
    channels = ["DAPI", "GFP"] if "C" in axes else []
    metadata: dict[str, Any] = {"axes": axes}
    if channels:
        metadata["Channel"] = {"Name": channels}
    if "T" in axes:
        metadata["finterval"] = 3.5
    if unit:
        options |= {"pixel_size": (0.25, 0.5, 2.0)[: 3 if "Z" in axes else 2], "unit": unit}
    cls = cpr.OMEZarrTarget if zarr else cpr.ImageTarget
    ext = {"OME-Zarr": ".ome.zarr", "OME-TIFF": ".ome.tif"}.get(kind, ".tif")
    labels = options.pop("labels", False)
    target = cls.from_path(folder / f"{name}{ext}", metadata=metadata, **options)
    target.set_data(array)
    if labels:
        mask = noise(shape[-2:], "uint8").astype("uint16")
        target.add_labels("cells", mask, colors={1: "green"}, properties={1: {"area": 2.5}, 2: {"area": 1}})
    target.persist()
    stored = array.view("uint8") * np.uint8(255) if dtype == "bool" and not zarr else array
    if zarr:
        order = sorted(range(len(axes)), key=lambda i: "TCZYX".index(axes[i]))
        axes, stored = "".join(axes[i] for i in order), stored.transpose(order)
    scale = METRES[unit] if unit else None
    size = {} if scale is None else {"x": 0.25 * scale, "y": 0.5 * scale}
    if scale is not None and "Z" in axes:
        size["z"] = 2 * scale
    return Case(
        name, kind, target.get_path(), axes, list(stored.shape), str(stored.dtype),
        digest(canonical(stored, axes)), digest(stored), size, 3.5 if "T" in axes else None, channels,
        options={"unit": unit, "dtype": dtype, **{k: v for k, v in options.items() if k in _TOLD}},
    )  # fmt: skip


_TOLD = {"compression", "predictor", "imagej", "compressors", "zarr_format", "chunks", "shards"}


def array(folder: Path, kind: str, name: str, dtype: str, shape: tuple[int, ...], **options: Any) -> Case:
    """Write an array as NPY or Zarr."""
    data = noise(shape, dtype)
    npy = kind == "NPY"
    cls = cpr.NumpyTarget if npy else cpr.ZarrTarget
    target = cls.from_path(folder / f"{name}{'.npy' if npy else '.zarr'}", **options)
    target.set_data(data)
    target.persist()
    options = {"dtype": dtype, **options}
    return Case(
        name, kind, target.get_path(), "", list(shape), dtype, digest(data), digest(data), options=options
    )


FRAME = {
    "label": [1, 2, 3, 4],
    "area": [0.1, 1 / 3, 1e-300, 12345678.9],
    "name": ['say "a", b', "Größe µm", "two\nlines", "x"],
    "touching": [True, False, True, False],
    "when": ["2026-01-02T03:04:05", "2026-01-02T03:04:06", "1999-12-31T23:59:59", "2030-06-01T00:00:00"],
    "kind": ["a", "b", "a", "b"],
    "count": [1, None, 3, 2**60 + 1],
}


def table(folder: Path, kind: str, name: str, columns: list[str], **options: Any) -> Case:
    """Write some columns of `FRAME`."""
    frame = pd.DataFrame({key: FRAME[key] for key in columns if key != "count"})
    if "when" in columns:
        frame["when"] = pd.to_datetime(frame["when"])
    if "kind" in columns:
        frame["kind"] = frame["kind"].astype("category")
    if "count" in columns:
        frame["count"] = pd.array(FRAME["count"], dtype="Int64")
    cls = cpr.CSVTarget if kind == "CSV" else cpr.ParquetTarget
    gz = options.pop("gz", False)
    ext = {"CSV": ".csv.gz" if gz else ".csv"}.get(kind, ".parquet")
    target = cls.from_path(folder / f"{name}{ext}", **options)
    target.set_data(frame)
    target.persist()
    return Case(name, kind, target.get_path(), columns={key: FRAME[key] for key in columns}, options=options)


def _tiffs(folder: Path) -> Iterator[Case]:
    kind = "ImageJ TIFF"
    for compression in (None, "zlib", "lzw", "zstd"):
        for dtype in ("uint8", "uint16", "float32", "bool"):
            for axes in ("YX", "ZYX", "CYX", "TYX", "TZCYX"):
                name = f"ij-{compression}-{dtype}-{axes}"
                yield image(folder, kind, name, axes, dtype, compression=compression)
        yield image(folder, kind, f"ij-{compression}-rgb", "ZYXS", "uint8", compression=compression)
        yield image(
            folder, kind, f"ij-{compression}-int16", "ZYX", "int16", compression=compression, imagej=True
        )
        for unit in (*METRES, None):
            name = f"ij-{compression}-{unit}"
            yield image(folder, kind, name, "TZCYX", "uint16", unit, compression=compression)
        if compression is not None:
            for predictor in (False, True):
                name = f"ij-{compression}-float32-predictor-{predictor}"
                options = {"compression": compression, "predictor": predictor}
                yield image(folder, kind, name, "ZYX", "float32", **options)
    # The form of 4 GiB and more, asked for of less.
    with mock.patch.object(layout, "_CLASSIC_BYTES", 1000):
        options = {"imagej": True, "compression": None}
        yield image(folder, kind, "ij-one-directory", "TZCYX", "uint16", **options)
    kind = "OME-TIFF"
    for compression in (None, "zlib", "lzw", "zstd"):
        for dtype in OME_DTYPES:
            name = f"ome-{compression}-{dtype}"
            yield image(folder, kind, name, "ZCYX", dtype, compression=compression)
        for axes in ("YX", "ZYX", "CYX", "TYX", "TZCYX", "ZTCYX", "CTZYX", "YXS"):
            dtype = "uint8" if axes == "YXS" else "uint16"
            yield image(folder, kind, f"ome-{compression}-{axes}", axes, dtype, compression=compression)
    for unit in (*METRES, None):
        yield image(folder, kind, f"ome-{unit}", "TZCYX", "uint16", unit)
    yield image(folder, kind, "ome-rgb16", "YXS", "uint16")
    kind = "plain TIFF"
    for compression in (None, "zlib", "lzw", "zstd"):
        for dtype in ("uint64", "int64", "float16"):
            yield image(folder, kind, f"plain-{compression}-{dtype}", "ZYX", dtype, compression=compression)


def _arrays(folder: Path) -> Iterator[Case]:
    for compressors in ("zstd", "blosc", "gzip", None):
        for dtype in ("uint8", "uint16", "int32", "float32", "bool"):
            name = f"omezarr-{compressors}-{dtype}"
            yield image(folder, "OME-Zarr", name, "CYX", dtype, compressors=compressors)
        for axes in ("YX", "ZYX", "CYX", "TYX", "TZCYX"):
            name = f"omezarr-{compressors}-{axes}"
            yield image(folder, "OME-Zarr", name, axes, "uint16", compressors=compressors)
    for unit in (*METRES, None):
        yield image(folder, "OME-Zarr", f"omezarr-{unit}", "TZCYX", "uint16", unit)
    yield image(folder, "OME-Zarr", "omezarr-labels", "YX", "uint8", labels=True)
    options = {"chunks": (1, 10, 12), "shards": (1, 20, 24)}
    yield image(folder, "OME-Zarr", "omezarr-shards", "CYX", "uint16", **options)
    for zarr_format in (3, 2):
        for compressors in ("zstd", "blosc", "gzip", None):
            for dtype in DTYPES:
                name = f"zarr{zarr_format}-{compressors}-{dtype}"
                options = {"compressors": compressors, "zarr_format": zarr_format, "chunks": (1, 7, 24)}
                yield array(folder, f"Zarr v{zarr_format}", name, dtype, (3, 20, 24), **options)
    options = {"chunks": (1, 5, 5), "shards": (2, 10, 10)}
    yield array(folder, "Zarr v3", "zarr3-shards", "uint16", (3, 20, 24), **options)
    for dtype in DTYPES:
        for shape in ((), (7,), (3, 4, 5), (0, 3)):
            yield array(folder, "NPY", f"npy-{dtype}-{len(shape)}", dtype, shape)


def _tables(folder: Path) -> Iterator[Case]:
    for kind in ("CSV", "Parquet"):
        yield table(folder, kind, f"{kind}-all", list(FRAME))
        for column in FRAME:
            yield table(
                folder, kind, f"{kind}-{column}", ["label", column] if column != "label" else [column]
            )
    yield table(folder, "CSV", "CSV-gz", list(FRAME), gz=True)
    yield table(folder, "CSV", "CSV-semicolon", list(FRAME), separator=";")
    yield table(folder, "CSV", "CSV-tab", list(FRAME), separator="\t")


def written(folder: Path, *more: Callable[[Path], Iterator[Case]]) -> list[Case]:
    """All cases, with those that others make: files in a folder, and a list of them, `cases.json`, there."""
    with warnings.catch_warnings(action="ignore"):  # of pixels of 0.25 m, and of ImageJ and zstd
        cases = [case for kind in (_tiffs, _arrays, _tables, *more) for case in kind(folder)]
    (folder / "cases.json").write_text(json.dumps([asdict(case) for case in cases]))
    return cases
