"""What an argument of each kind does to a cache key; the rows of "Arguments and keys" in docs/guarantees.md.

`content`: equal content gives the key again, in whatever object, and other content gives another key.
`version`: what the store says of the data counts, and a change of the data is a change of the key.
`none`: there is no key. The task runs uncached, with a warning that names the argument.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import os
import pathlib
import threading
import types
import uuid
from collections.abc import Callable
from typing import Any

import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import pydantic
import pytest
import zarr

import cpr
from cpr.errors import FormatError
from tests.text_format import TextSource, TextTarget


class Shade(enum.Enum):
    ONE = 1
    TWO = 2


@dataclasses.dataclass
class Cell:
    area: float


class Nucleus(pydantic.BaseModel):
    area: float


class Settings:
    def __init__(self, gain: int) -> None:
        self.gain = gain

    def scaled(self, x: int) -> int:
        return x * self.gain


class Length(np.ndarray):
    unit: str


def in_unit(unit: str) -> Length:
    array = np.arange(3.0).view(Length)
    array.unit = unit
    return array


def frame(n: int) -> pd.DataFrame:
    return pd.DataFrame({"a": [n, 2], "b": ["x", None]})


def with_attrs(n: int) -> pd.DataFrame:
    table = frame(1)
    table.attrs["pixel"] = n
    return table


def with_extra(n: int) -> Cell:
    cell = Cell(1.0)
    cell.note = n  # type: ignore[attr-defined]
    return cell


def adder(n: int) -> Callable[[int], int]:
    return lambda x: x + n


def made_class(n: int) -> type:
    return type("Made", (), {"gain": n})


def text_target(n: int) -> TextTarget:
    target = TextTarget.from_path("memory://kinds/a.txt")
    target.set_data(f"text {n}")
    return target


CONTENT: dict[str, Callable[[int], Any]] = {
    "None, bool, int, float, complex, str, bytes": lambda n: [
        None,
        True,
        n,
        n / 2,
        1j * n,
        f"{n}",
        b"%d" % n,
    ],
    "list, tuple, set, frozenset, dict, deque": lambda n: [
        [n],
        (n,),
        {n},
        frozenset({n}),
        {n: n},
        collections.deque([n]),
    ],
    "range, slice": lambda n: [range(n), slice(n)],
    "date, time, Decimal, Fraction, UUID": lambda n: [
        dt.date(2026, 1, n),
        dt.timedelta(n),
        decimal.Decimal(n),
        fractions.Fraction(n, 7),
        uuid.UUID(int=n),
    ],
    "enum member": Shade,
    "dataclass": lambda n: Cell(float(n)),
    "further attribute of a dataclass": with_extra,
    "pydantic model": lambda n: Nucleus(area=n),
    "SimpleNamespace": lambda n: types.SimpleNamespace(gain=n),
    "object of a class of one's own": Settings,
    "method of such an object": lambda n: Settings(n).scaled,
    "function, lambda, closure": adder,
    "functools.partial": lambda n: functools.partial(max, n),
    "class of one's own": made_class,
    "numpy scalar": np.float32,
    "numpy array": lambda n: np.full((3, 4), n),
    "numpy array of objects": lambda n: np.array([n, "a", None], dtype=object),
    "numpy masked array": lambda n: np.ma.masked_equal(np.arange(5), n),
    "numpy structured array": lambda n: np.array([(n, 2.0)], [("a", "i2"), ("b", "f8")]),
    "subclass of ndarray with a unit": lambda n: in_unit(f"{n} mm"),
    "pandas DataFrame, Series, Index": lambda n: [frame(n), frame(n)["a"], pd.Index([n])],
    "attrs of a DataFrame": with_attrs,
    "dask array of arrays in memory": lambda n: dask.array.from_array(np.arange(6) * n, chunks=2) + 1,
    "dask DataFrame of frames in memory": lambda n: dask.dataframe.from_pandas(frame(n), npartitions=1),
    "target": text_target,
    "targets inside containers and objects": lambda n: {"a": [text_target(n)], "b": Cell(text_target(n))},
}


def write(path: pathlib.Path, n: int) -> pathlib.Path:
    path.write_text(f"content {n}")
    os.utime(path, ns=(n * 10**9, n * 10**9))
    return path


def zarr_array(folder: pathlib.Path, n: int) -> zarr.Array:
    array = zarr.open_array(str(folder / "a.zarr"), mode="w", shape=(4,), chunks=(2,), dtype="i4")
    array[:] = n
    return array


def zarr_group(folder: pathlib.Path, n: int) -> zarr.Group:
    group = zarr.open_group(str(folder / "g.zarr"), mode="w")
    group.create_array("0", data=np.full(4, n))
    return group


VERSION: dict[str, Callable[[pathlib.Path, int], Any]] = {
    "source": lambda folder, n: TextSource.from_path(write(folder / "a.txt", n)),
    "sources of a glob": lambda folder, n: TextSource.glob(f"{write(folder / 'a.txt', n).parent}/*.txt"),
    "Path of a file that is there": lambda folder, n: write(folder / "a.txt", n),
    "zarr.Array": zarr_array,
    "zarr.Group": zarr_group,
    "dask array of a zarr.Array": lambda folder, n: dask.array.from_zarr(zarr_array(folder, n)),
}

NONE: dict[str, Callable[[], Any]] = {
    "generator, iterator": lambda: (x for x in ()),
    "lock, thread": threading.Lock,
    "open file": lambda: open(os.devnull),  # noqa: SIM115
    "socket, process, connection": lambda: __import__("socket").socket(),
    "object that holds one of these": lambda: Settings(threading.Lock()),  # type: ignore[arg-type]
}


def key(value: Any) -> str:
    return cpr.hash_objects(image=value)


@pytest.mark.parametrize("kind", CONTENT)
def test_content(kind):
    make = CONTENT[kind]
    assert key(make(1)) == key(make(1))
    assert key(make(1)) != key(make(2))
    # Wherever it is.
    assert key([{"deep": make(1)}]) == key([{"deep": make(1)}]) != key([{"deep": make(2)}])


@pytest.mark.parametrize("kind", VERSION)
def test_version(kind, tmp_path):
    make = VERSION[kind]
    first = key(make(tmp_path, 1))
    assert key(make(tmp_path, 2)) != first


@pytest.mark.parametrize("kind", [kind for kind in VERSION if "zarr" not in kind])
def test_the_same_version_is_the_same_key(kind, tmp_path):
    make = VERSION[kind]
    assert key(make(tmp_path, 1)) == key(make(tmp_path, 1))


@pytest.mark.parametrize("kind", NONE)
def test_none(kind):
    value = NONE[kind]()
    try:
        with pytest.raises(FormatError) as caught:
            key([value])
    finally:
        if hasattr(value, "close"):
            value.close()
    assert caught.value.field.startswith("image[0]")
    assert caught.value.remedy
