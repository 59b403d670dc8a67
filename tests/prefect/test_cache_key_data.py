"""Data counts in keys by content, or by what its store says of it; or its task is not cached, and says so."""

from __future__ import annotations

import dataclasses
import enum
import functools
import io
import os
import pathlib
import threading
import types
import uuid

import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import pytest
import zarr
from prefect.cache_policies import DEFAULT, FLOW_PARAMETERS, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE
from upath import UPath

import cpr
from cpr.errors import FormatError
from cpr.prefect.cache_policy import SourceVersions, seeing_sources, warn_of_unseen_sources
from tests.text_format import TextSource

hash_objects = cpr.hash_objects


class Quantity(np.ndarray):
    def __array_finalize__(self, other):
        self.unit = getattr(other, "unit", None)


def quantity(unit):
    made = np.arange(3.0).view(Quantity)
    made.unit = unit
    return made


def with_attrs(data, n):
    data.attrs["unit"] = n
    return data


@dataclasses.dataclass
class Options:
    sigma: float = 1.0


def extra(n):
    made = Options()
    made.more = n
    return made


def member(n):
    return enum.Enum("Mode", {"FAST": n}).FAST


@dataclasses.dataclass
class Frames(list):
    unit: str = "um"


@dataclasses.dataclass
class Tab(dict):
    unit: str = "um"


@dataclasses.dataclass(frozen=True)
class Length(float):
    value: float

    def __new__(cls, value):
        return float.__new__(cls, value)


@dataclasses.dataclass
class Failure(Exception):
    code: int = 1


def with_args(n):
    made = Failure(3)
    made.args = (n,)
    return made


class Slotted:
    __slots__ = ("__own", "k")

    def __init__(self, k, own=0):
        self.k, self.__own = k, own


@dataclasses.dataclass(slots=True)
class SlottedToo(Slotted):
    x: int = 1


class SlottedArray(np.ndarray):
    __slots__ = ("unit",)


def with_attribute(made, name, value):
    object.__setattr__(made, name, value)
    return made


def of_fields(unit):
    return np.dtype([("a", np.dtype("f4", metadata={"unit": unit})), ("b", "f4", (2,))])


def levels(*names):
    codes = [[names.index("a"), names.index("b")], [0, 0]]
    return pd.MultiIndex(levels=[list(names), [1]], codes=codes)


def filled_with(made, n):
    made.append(n) if isinstance(made, list) else made.update(k=n)
    return made


def of_objects(n, fill="x"):
    return np.ma.array(np.array(["a", n], object), mask=[n == 2, True], fill_value=fill)


IN_MEMORY = {
    "mask of objects": of_objects,
    "fill value of objects": lambda n: of_objects(3, f"fill {n}"),
    "record with a mask": lambda n: np.ma.array([(1, n)], mask=[(0, 1)], dtype="i4,i4")[0],
    "mask of a record": lambda n: np.ma.array([(1, 5)], mask=[(0, n - 1)], dtype="i4,i4")[0],
    "metadata of a field": lambda n: np.zeros(1, of_fields(n)),
    "metadata of a field of a record": lambda n: np.zeros(1, of_fields(n))[0],
    "metadata of a scalar's dtype": lambda n: np.zeros(2, np.dtype("f4", metadata={"unit": n})),
    "order of levels": lambda n: pd.DataFrame({"v": [1, 2]}, index=levels(*["ab", "ba"][n - 1])),
    "order of levels of columns": lambda n: pd.DataFrame([[1, 2]], columns=levels(*["ab", "ba"][n - 1])),
    "items of a dataclass": lambda n: filled_with(Frames(), n),
    "entries of a dataclass": lambda n: filled_with(Tab(), n),
    "number that is a dataclass": lambda n: with_attribute(Length(float(n)), "value", 0),
    "arguments of an error that is a dataclass": with_args,
    "slot": Slotted,
    "private slot": lambda n: Slotted(1, n),
    "slot besides the fields": lambda n: with_attribute(SlottedToo(), "k", n),
    "slot of an array": lambda n: with_attribute(np.ones(2).view(SlottedArray), "unit", n),
    "vectorized with a wrapper": lambda n: functools.update_wrapper(
        np.vectorize(with_args, otypes=["f" if n == 1 else "d"]), with_args
    ),
    "unit": lambda n: quantity(f"unit {n}"),
    "attrs of a frame": lambda n: with_attrs(pd.DataFrame({"a": [1]}), n),
    "attrs of a series": lambda n: with_attrs(pd.Series([1]), n),
    "enum": member,
    "enum in a list": lambda n: [member(n)],
    "more than the fields": extra,
    "masked values": lambda n: np.ma.array([n, 2], mask=[0, 1]),
    "mask": lambda n: np.ma.array([1, 2], mask=[0, n - 1]),
    "behind the mask": lambda n: np.ma.array([1, n], mask=[0, 1]),
    "fill value": lambda n: np.ma.array([1, 2], mask=[0, 0], fill_value=n),
    "method of a generator": lambda n: np.random.default_rng(n).normal,
    "method of a list": lambda n: [n].index,
    "bytes in a file": lambda n: io.BytesIO(bytes([n])),
    "zarr in memory": lambda n: filled(zarr.create_array({}, shape=(4,), dtype="i4"), n),
    "group in memory": lambda n: group({}, n),
}


def filled(array, n):
    array[:] = n
    return array


def group(store, n):
    made = zarr.open_group(store, mode="w")
    filled(made.create_array("a/b", shape=(4,), dtype="i4"), n)
    return made


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_in_memory(kind):
    make = IN_MEMORY[kind]
    assert hash_objects(make(1)) == hash_objects(make(1)) != hash_objects(make(2))


def zarr_at(path, n):
    return filled(zarr.create_array(str(path), shape=(4,), dtype="i4", overwrite=True), n)


STORED = {
    "zarr": lambda path: zarr.open_array(path),
    "zarr of fsspec": lambda path: zarr.open_array(f"file://{path}"),
    "zarr read only": lambda path: zarr.open_array(path, mode="r"),
    "list of zarr": lambda path: [zarr.open_array(path)],
    "dask": lambda path: da.from_zarr(path),
    "dask computed from": lambda path: (da.from_zarr(path) + 1).mean(),
    "dask inlined": lambda path: da.from_array(zarr.open_array(path), inline_array=True),
    "path of a zarr": lambda path: pathlib.Path(path),
}


@pytest.mark.parametrize("kind", STORED)
def test_zarr_that_is_written_to(tmp_path, kind):
    path = str(tmp_path / "a.zarr")
    zarr_at(path, 1)
    keys = [hash_objects(STORED[kind](path)) for _ in range(2)]
    zarr.open_array(path)[1] = 7  # a chunk; the metadata stays as it is
    assert keys[0] == keys[1] != hash_objects(STORED[kind](path))


def test_a_group_of_zarr_that_is_written_to(tmp_path):
    made = group(str(tmp_path / "g.zarr"), 1)
    keys = [hash_objects(zarr.open_group(str(tmp_path / "g.zarr"))) for _ in range(2)]
    filled(made["a/b"], 2)
    assert keys[0] == keys[1] != hash_objects(zarr.open_group(str(tmp_path / "g.zarr")))
    # Only what lies below.
    other = hash_objects(zarr.open_group(str(tmp_path / "g.zarr"), path="a"))
    made.create_array("c", shape=(1,), dtype="i4")
    assert hash_objects(zarr.open_group(str(tmp_path / "g.zarr"), path="a")) == other


FILES = {
    "path": pathlib.Path,
    "paths": lambda path: {"x": [pathlib.Path(path)]},
    "path of fsspec": lambda path: fsspec.open(path),
    "upath": UPath,
    "dask over a source": lambda path: da.from_delayed(lazily(TextSource.from_path(path)), (1,), "i4"),
}


def lazily(source):
    import dask

    return dask.delayed(length, pure=True)(source)


def length(source):
    return np.array([len(source.get_data())])


@pytest.mark.parametrize("kind", FILES)
def test_files(tmp_path, kind):
    path = str(tmp_path / "a.txt")
    pathlib.Path(path).write_text("one")
    keys = [hash_objects(FILES[kind](path)) for _ in range(2)]
    pathlib.Path(path).write_text("other")
    assert keys[0] == keys[1] != hash_objects(FILES[kind](path))


def test_a_file_in_memory_of_upath():
    path = UPath(f"memory://{uuid.uuid4().hex}/a.txt")
    before = hash_objects(path)  # nothing there: a name
    path.write_text("one")
    one = hash_objects(path)
    path.write_text("three")
    assert len({before, one, hash_objects(path)}) == 3


def test_folders_and_texts_are_names(tmp_path):
    before = hash_objects(tmp_path, str(tmp_path))
    (tmp_path / "a.txt").write_text("one")
    assert hash_objects(tmp_path, str(tmp_path)) == before


def test_by_path_nothing_is_asked(tmp_path):
    zarr_at(tmp_path / "a.zarr", 1)
    (tmp_path / "a.txt").write_text("one")
    task = cpr.task(lambda x: x)
    context = types.SimpleNamespace(task=task, task_run=None)

    def key():
        arguments = {"x": [zarr.open_array(str(tmp_path / "a.zarr")), tmp_path / "a.txt"]}
        return cpr.TargetInputs(sources="path").compute_key(context, arguments, {})

    before = key()
    zarr_at(tmp_path / "a.zarr", 2)
    (tmp_path / "a.txt").write_text("other")
    assert key() == before


@pytest.mark.parametrize(
    "value",
    [
        lambda: open(os.devnull),  # noqa: SIM115
        lambda: open(os.devnull, "rb"),  # noqa: SIM115
        lambda: fsspec.filesystem("memory").open(f"/{uuid.uuid4().hex}", "wb"),
        lambda: da.from_array(Locked(), chunks=1),
    ],
)
def test_what_cannot_be_named_is_refused(value):
    with pytest.raises(FormatError) as caught:
        hash_objects(x=[value()])
    assert caught.value.field.startswith("x[0]")


class Locked:
    """An array that cannot leave its process, as of h5py."""

    shape, dtype, ndim = (3,), np.dtype("i4"), 1

    def __init__(self):
        self.lock = threading.Lock()

    def __getitem__(self, item):
        return np.zeros(3, "i4")[item]

    def __dask_tokenize__(self):
        return "locked"


class TestPoliciesOfPrefect:
    def source(self, tmp_path, text):
        (tmp_path / "a.txt").write_text(text)
        return TextSource.from_path(tmp_path / "a.txt")

    @pytest.mark.parametrize("policy", [INPUTS, INPUTS + TASK_SOURCE, TASK_SOURCE, FLOW_PARAMETERS])
    def test_under_cpr_task_they_see_sources(self, tmp_path, policy):
        task = cpr.task(cache_policy=policy)(lambda x: x)
        context = types.SimpleNamespace(task=task, task_run=None)

        def key(source):
            return task.cache_policy.compute_key(context, {"x": [source]}, {"y": 1})

        before = self.source(tmp_path, "one")
        keys = key(before), key(TextSource.from_path(before.url)), key(self.source(tmp_path, "other"))
        assert keys[0] == keys[1] != keys[2]
        assert task.with_options(cache_policy=policy).cache_policy == task.cache_policy

    @pytest.mark.parametrize("policy", [NO_CACHE, RUN_ID, DEFAULT, cpr.TargetInputs(), None])
    def test_others_stay_as_they_are(self, policy):
        assert seeing_sources(policy) is policy

    def test_without_sources_nothing_is_added(self):
        context = types.SimpleNamespace(task=cpr.task(lambda x: x), task_run=None)
        assert SourceVersions().compute_key(context, {"x": 1}, {}) is None

    def test_elsewhere_it_is_warned_of(self, tmp_path, monkeypatch):
        lines = []
        monkeypatch.setattr(
            "cpr.prefect.cache_policy.log", lambda level, text, *args: lines.append(text % args)
        )
        task = types.SimpleNamespace(cache_policy=INPUTS, name="total", task_key=uuid.uuid4().hex)
        source = self.source(tmp_path, "one")
        for policy in (INPUTS, INPUTS, cpr.TargetInputs(), DEFAULT):
            task.cache_policy = policy
            context = types.SimpleNamespace(task=task, parameters={"x": [source]})
            monkeypatch.setattr(
                "cpr.prefect.cache_policy.TaskRunContext", types.SimpleNamespace(get=lambda c=context: c)
            )
            warn_of_unseen_sources()
        (line,) = lines
        assert "'total' does not see when" in line
        assert source.url in line


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the system does not tell what is mapped")
@pytest.mark.parametrize("kind", [pathlib.Path, cpr.NumpySource.from_path])
def test_a_file_that_is_written_to_through_memory(tmp_path, kind):
    path = str(tmp_path / "a.npy")
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype="f8", shape=(1000,))
    keys = []
    for number in range(3):
        mapped[:] = number
        keys.append(hash_objects(kind(path)))
        assert hash_objects(kind(path)) == keys[-1]
    assert len(set(keys)) == 3
    assert float(cpr.NumpySource.from_path(path).get_data()[0]) == 2
