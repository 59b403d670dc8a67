"""What rows of remedies are made of: files put somewhere, data stored and read."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tifffile

import cpr
from cpr.testing import SeekableBytes

STACK = np.arange(3 * 4 * 5, dtype="uint16").reshape(3, 4, 5)
TABLE = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})

_number = itertools.count()


class Row(NamedTuple):
    """A remedy.

    Attributes:
        fails: what raises an error, or warns.
        named: a piece of the remedy that it has to name.
        works: what somebody does who follows it.
    """

    fails: Callable[[], Any]
    named: str
    works: Callable[[], Any]


RESTORED = "restore the file, or write it again with the program it comes from"
LEFT_OUT = "correct it, or leave it out for the default"


def place(name: str) -> str:
    """A URL that nobody else has."""
    return f"memory://remedies/{next(_number)}/{name}"


def put(data: bytes, name: str) -> str:
    """Where a file with these bytes is."""
    url = place(name)
    with cpr.io.writing(url) as file:
        file.write(data)
    return url


def source(cls: type[Any], data: bytes, name: str, **options: Any) -> Any:
    """What a source reads of these bytes."""
    return cls.from_path(put(data, name), **options).get_data()


def stored(cls: type[Any], ext: str, data: Any, say: dict[str, Any] | None = None, **options: Any) -> Any:
    """What comes back of data that was stored with these options."""
    target = cls.from_path(place(f"a{ext}"), **options)
    target.set_data(data, **(say or {}))
    return cpr.load(target.serialize()).get_data()


def tif(data: Any, say: dict[str, Any] | None = None, **options: Any) -> Any:
    return stored(cpr.ImageTarget, ".tif", data, say, **options)


def ome(data: Any, **options: Any) -> Any:
    return stored(cpr.ImageTarget, ".ome.tif", data, **options)


def npy(data: Any, say: dict[str, Any] | None = None) -> Any:
    return stored(cpr.NumpyTarget, ".npy", data, say)


def csv(data: Any, **options: Any) -> Any:
    return stored(cpr.CSVTarget, ".csv", data, **options)


def parquet(data: Any, **options: Any) -> Any:
    return stored(cpr.ParquetTarget, ".parquet", data, **options)


def zarr(data: Any, say: dict[str, Any] | None = None, **options: Any) -> Any:
    return stored(cpr.ZarrTarget, ".zarr", data, say, **options)


def ome_zarr(data: Any, say: dict[str, Any] | None = None, **options: Any) -> Any:
    return stored(cpr.OMEZarrTarget, ".ome.zarr", data, say, **options)


def column(values: Any, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"column": values, **more})


def tiff(*pages: Any, **options: Any) -> bytes:
    """A file that tifffile writes, in one call or, of several arrays, one for each."""
    file = io.BytesIO()
    with tifffile.TiffWriter(
        file, **{k: options.pop(k) for k in ("ome", "imagej", "byteorder", "bigtiff") if k in options}
    ) as out:
        for page in pages:
            out.write(page, photometric="minisblack", **options)
    return file.getvalue()


def image(data: bytes, region: Any = None, **options: Any) -> Any:
    """What is read of a TIFF that somebody else wrote."""
    return cpr.ImageSource.from_path(put(data, "a.tif"), **options).get_data(region=region)


def own(cls: type[Any], ext: str, data: Any, **options: Any) -> tuple[Any, bytes]:
    """The format of a stored result, and its bytes."""
    target = cls.from_path(place(f"a{ext}"), **options)
    target.set_data(data)
    target.persist()
    with cpr.io.reading(target.url) as file:
        return target.format, file.read()


def decoded(format: Any, data: bytes, region: Any = None) -> Any:
    """What a format makes of bytes."""
    file = SeekableBytes(data)
    return format.decode(file) if region is None else format.decode_region(file, region)
