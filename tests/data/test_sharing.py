"""Who may change what: data that cpr keeps, data that a reader gets, data that a producer goes on using."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpr
from cpr.data.arrays import hash_array
from cpr.errors import EncodeError
from cpr.io.hashing import hex16
from tests.data.tables.frames import EVERY_DTYPE, same

ARRAYS = {
    "npy": (cpr.NumpyTarget, ".npy", {}),
    "imagej": (cpr.ImageTarget, ".tif", {}),
    "ome": (cpr.ImageTarget, ".ome.tif", {}),
    "plain": (cpr.ImageTarget, ".tif", {"compression": None}),
    "zarr": (cpr.ZarrTarget, ".zarr", {}),
}
TABLES = {"csv": (cpr.CSVTarget, ".csv", {}), "parquet": (cpr.ParquetTarget, ".parquet", {})}
SOURCES = {
    "npy": cpr.NumpySource,
    "imagej": cpr.ImageSource,
    "ome": cpr.ImageSource,
    "plain": cpr.ImageSource,
    "csv": cpr.CSVSource,
    "parquet": cpr.ParquetSource,
}
PLANE = np.arange(20, dtype="uint16").reshape(4, 5)


def target_of(kind):
    cls, ext, options = (ARRAYS | TABLES)[kind]
    return cls.from_path(f"memory://sharing/{kind}{ext}", **options)


def stored(kind, data, **more):
    target = target_of(kind)
    target.set_data(data, **more)
    return target.persist()


def read(target):
    """What another process reads."""
    data = cpr.load(target.serialize()).get_data()
    return data if isinstance(data, (np.ndarray, pd.DataFrame)) else np.asarray(data[...])


def spoil(data):
    """Change data in every way that numpy and pandas let one."""
    if isinstance(data, np.ndarray):
        for change in (lambda: data.fill(9), lambda: data.__setitem__(..., 9), lambda: data.sort()):
            with suppress(ValueError):
                change()
        return
    for label in list(data.columns):
        for change in (
            lambda: data.loc.__setitem__((slice(None), label), data[label].iloc[::-1].array),  # noqa: B023
            lambda: data[label].array.__setitem__(0, data[label].array[-1]),  # noqa: B023
            lambda: data[label].to_numpy().__setitem__(0, data[label].iloc[-1]),  # noqa: B023
            lambda: data.index.array.__setitem__(0, data.index[-1]),
            lambda: data.columns.array.__setitem__(0, data.columns[-1]),
        ):
            with suppress(ValueError, TypeError, AttributeError, NotImplementedError):
                change()


@pytest.mark.parametrize("kind", [kind for kind in ARRAYS if kind != "zarr"])
def test_arrays_that_are_kept_cannot_be_changed(kind):
    array = np.stack([PLANE, PLANE + 7])
    target = target_of(kind)
    target.set_data(array.copy())
    keepers = [("held", target)]
    persisted = stored(kind, array)
    keepers.append(("cached", cpr.load(persisted.serialize())))
    keepers.append(("source", SOURCES[kind].from_path(persisted.url)))
    for what, keeper in keepers:
        for region in (None, np.s_[1], np.s_[:, 1:3]):
            for _ in range(2):
                data = keeper.get_data(cache=what != "held", region=region)
                with pytest.raises(ValueError, match="read-only"):
                    data += 1
                with pytest.raises(ValueError, match="WRITEABLE"):
                    data.flags.writeable = True
                spoil(data)
            expected = array if region is None else array[region]
            np.testing.assert_array_equal(keeper.get_data(cache=what != "held", region=region), expected)
    target.persist()
    np.testing.assert_array_equal(read(target), array)


@pytest.mark.parametrize("kind", TABLES)
def test_frames_that_are_kept_cannot_be_changed(kind):
    target = target_of(kind)
    target.set_data(EVERY_DTYPE.copy())
    spoil(target.get_data())
    assert same(target.get_data(), EVERY_DTYPE)
    loaded = cpr.load(target.persist().serialize())
    for keeper in (loaded, SOURCES[kind].from_path(target.url)):
        first = keeper.get_data(cache=True).copy()
        spoil(keeper.get_data(cache=True))
        spoil(keeper.get_data())
        pd.testing.assert_frame_equal(keeper.get_data(), first)
    assert same(loaded.get_data(), EVERY_DTYPE)


@dataclass(frozen=True)
class Json:
    """A format of somebody's own, who has not thought of sharing."""

    extensions: ClassVar[tuple[str, ...]] = (".json",)

    def fingerprint(self, data):
        return hex16(json.dumps(data).encode())

    def encode(self, data, file):
        file.write(json.dumps(data).encode())

    def decode(self, file):
        return json.loads(file.read())


class JsonTarget(cpr.Target):
    format_class = Json


def test_data_of_formats_of_ones_own_cannot_be_changed_either():
    target = JsonTarget.from_path("memory://sharing/a.json")
    target.set_data({"a": [1, {"b": 2}]})
    target.get_data()["a"][1]["b"] = 9
    target.persist()
    for _ in range(2):
        data = target.get_data(cache=True)
        assert data == {"a": [1, {"b": 2}]}
        data["a"].clear()


@pytest.mark.parametrize("kind", [kind for kind in ARRAYS if kind != "zarr"])
def test_arrays_of_a_reader_are_the_readers(kind):
    persisted = stored(kind, np.stack([PLANE, PLANE + 7]))
    for reader in (cpr.load(persisted.serialize()), SOURCES[kind].from_path(persisted.url)):
        for region in (None, np.s_[1], np.s_[:, 1:3], np.s_[:, ::-1]):
            data = reader.get_data(region=region)
            data += 1
            assert not np.array_equal(reader.get_data(region=region), data)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("columns", [None, ["int64"], ["float64"]], ids=["all", "integers", "floats"])
def test_frames_of_a_reader_are_the_readers(kind, columns):
    frame = EVERY_DTYPE if columns is None else pd.DataFrame({"a": np.arange(3).astype(columns[0])})
    persisted = stored(kind, frame)
    for reader in (cpr.load(persisted.serialize()), SOURCES[kind].from_path(persisted.url)):
        data = reader.get_data()
        for at, label in enumerate(data.columns):
            data.loc[data.index[0], label] = data.iloc[-1, at]
            data[label].array[0] = data[label].array[-1]
            assert data.iloc[0, at] == data.iloc[-1, at] or pd.isna(data.iloc[0, at])


def refilled(kind):
    """Planes in one buffer, which the producer fills anew for each."""
    buffer = np.zeros_like(PLANE)
    for i in range(6):
        buffer[:] = PLANE + i
        yield {"buffer": buffer, "view": buffer[::1][:, :], "slab": buffer[None], "list": buffer}[kind]
    buffer[:] = 0


@pytest.mark.parametrize("how", ["buffer", "view", "slab"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_a_buffer_may_be_filled_again(kind, how):
    expected = np.stack([PLANE + i for i in range(6)])
    target = stored(kind, refilled(how), shape=(6, 4, 5), dtype="uint16")
    np.testing.assert_array_equal(read(target), expected)
    if kind != "zarr":
        assert target.data_hash == hash_array(expected)


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_memmap_may_change_afterwards(kind, tmp_path):
    memmap = np.memmap(tmp_path / "planes", "uint16", "w+", shape=(6, 4, 5))
    memmap[:] = expected = np.stack([PLANE + i for i in range(6)])
    target = target_of(kind)
    target.set_data(memmap)
    memmap[:] = 0
    np.testing.assert_array_equal(read(target.persist()), expected)

    def planes():
        for i in range(6):
            memmap[i % 2] = PLANE + i
            yield memmap[i % 2]
            memmap[i % 2] = 0

    np.testing.assert_array_equal(read(stored(kind, planes(), shape=(6, 4, 5), dtype="uint16")), expected)


def chunks(how, frame):
    """The rows of a frame, all through one frame that is changed after each chunk was handed on."""
    one = frame.iloc[:1].copy()
    for i in range(len(frame)):
        if how == "loc":
            for label in frame.columns:
                one.loc[:, label] = frame[label].iloc[i : i + 1].array
        elif how == "array":
            for label in frame.columns:
                one[label].array[:] = frame[label].array[i : i + 1]
        yield one
        for label in frame.columns:
            one[label].array[:] = frame[label].array[:1]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-9, 9), st.floats(width=32, allow_nan=False), st.text("abé", max_size=3)),
        min_size=1,
        max_size=5,
    )
)
@pytest.mark.parametrize("how", ["loc", "array"])
@pytest.mark.parametrize("kind", TABLES)
def test_a_frame_may_be_filled_again(kind, how, rows):
    frame = pd.DataFrame(rows, columns=["i", "f", "s"])
    frame["c"] = pd.Categorical(frame["s"], categories=sorted(set(frame["s"])))
    frame["t"] = pd.to_datetime(frame["i"], unit="s")
    frame["m"] = frame["i"].astype("Int64")
    target = stored(kind, chunks(how, frame))
    assert same(read(target), frame)
    assert stored(kind, frame).data_hash == target.data_hash


@pytest.mark.parametrize("kind", [kind for kind in ARRAYS if kind != "zarr"])
def test_masked_arrays_are_refused_however_they_come(kind):
    dask = pytest.importorskip("dask.array")
    masked = np.ma.masked_equal(PLANE, 3)
    shape = {"shape": (2, 4, 5), "dtype": "uint16"}
    for data, more in (
        (masked, {}),
        ([masked, masked], {}),
        ([[PLANE], [masked]], {}),
        ((PLANE, masked), shape),
        (iter([PLANE, masked]), shape),
        (iter([[PLANE[0], *masked[1:]], PLANE]), shape),
        (dask.from_array(masked, chunks=2), {}),
        ([dask.from_array(PLANE), dask.from_array(masked)], {}),
        (iter([dask.from_array(PLANE), dask.from_array(masked)]), shape),
        (dask.from_array(PLANE, chunks=2).map_blocks(lambda b: np.ma.masked_equal(b, 3), dtype="uint16"), {}),
    ):
        target = target_of(kind)
        with pytest.raises(EncodeError, match="mask") as caught:
            target.set_data(data, **more)
        assert "numpy.ma.filled" in caught.value.remedy
    # The remedy.
    np.testing.assert_array_equal(read(stored(kind, np.ma.filled(masked, 0))), np.where(PLANE == 3, 0, PLANE))


@pytest.mark.parametrize("kind", [kind for kind in ARRAYS if kind != "zarr"])
def test_blocks_that_are_not_what_they_say_are_refused(kind):
    dask = pytest.importorskip("dask.array")
    array = dask.from_array(np.stack([PLANE] * 4), chunks=(1, 4, 5))
    wrong = {
        "dtype": array.map_blocks(lambda b: b.astype("int32"), dtype="uint16"),
        "fewer": array.rechunk((2, 4, 5)).map_blocks(lambda b: b[:1], dtype="uint16"),
        "more": array.map_blocks(lambda b: np.concatenate([b, b]), dtype="uint16"),
        "narrow": array.map_blocks(lambda b: b[:, :, :3], dtype="uint16"),
        "unknown": array[array[:, 0, 0] >= 0],
    }
    for what, data in wrong.items():
        target = target_of(kind)
        with pytest.raises(EncodeError) as caught:
            target.set_data(data)
        assert caught.value.remedy and caught.value.field in {"dtype", "shape"}, what
        assert target.data_hash is None


STRUCTS = {
    "gap": np.dtype({"names": ["id", "x"], "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 24}),
    "aligned": np.dtype([("a", "u1"), ("b", "f8")], align=True),
    "nested": np.dtype(
        [("s", np.dtype([("a", "u1"), ("b", "f8")], align=True), (2,)), ("c", "u1")], align=True
    ),
    "longdouble": np.dtype(np.longdouble),
    "clongdouble": np.dtype(np.clongdouble),
    "longdouble in a struct": np.dtype([("a", np.longdouble), ("b", "u1")]),
    "union": np.dtype({"names": ["a", "b"], "formats": ["u2", "u1"], "offsets": [0, 0], "itemsize": 4}),
}


def content_bytes(dtype):
    """Which bytes change when the values do."""
    kept = np.zeros(1, dtype)
    fill(kept, 0xFF)
    return kept.view("u1") != 0


def fill(array, byte):
    """Set every byte of every value, and nothing between them."""
    if array.dtype.names is not None:
        for name in array.dtype.names:
            fill(array[name], byte)
    elif array.dtype.char in "gG":
        parts = np.zeros((*array.shape, 2 if array.dtype.char == "G" else 1, np.dtype("g").itemsize), "u1")
        parts[..., :10] = byte
        array[...] = parts.reshape(*array.shape, -1).view(array.dtype).reshape(array.shape)
    else:
        raw = np.full((*array.shape, array.dtype.itemsize), byte, "u1")
        array[...] = raw.view(array.dtype).reshape(array.shape)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
@pytest.mark.parametrize("name", STRUCTS)
def test_what_lies_in_padding_is_no_content(name, seed):
    dtype = STRUCTS[name]
    rng = np.random.default_rng(seed)
    clean = np.zeros(6, dtype)
    for field in dtype.names or ():
        values = rng.integers(0, 99, (*clean[field].shape, clean[field].dtype.itemsize), "u1")
        if clean[field].dtype.kind in "ui":
            clean[field] = values[..., 0]
        elif clean[field].dtype.names is None:
            clean[field] = values[..., 0] / 7
    if dtype.names is None:
        clean[:] = np.arange(6) / 7
    used = content_bytes(dtype)
    dirty = clean.copy()
    dirty.view("u1").reshape(6, -1)[:, ~used] = rng.integers(0, 256, (6, int((~used).sum())), "u1")
    wide = np.empty(12, dtype)
    wide[::2] = dirty
    assert (dirty == clean).all() and not used.all()
    assert hash_array(dirty) == hash_array(clean) == hash_array(wide[::2])
    if name == "union":
        return  # no NPY header describes it
    target = target_of("npy")
    target.set_data(dirty)
    dirty.view("u1").reshape(6, -1)[:, ~used] ^= 0xFF
    found = read(target.persist())
    assert (found == clean).all() and found.dtype == dtype
    assert hash_array(found) == target.data_hash


def test_truth_is_one():
    odd = np.array([0, 1, 2, 255], "u1").view(bool)
    assert hash_array(odd) == hash_array(np.array([False, True, True, True]))
    for kind in ("npy", "imagej", "plain"):
        assert read(stored(kind, odd.reshape(2, 2))).tolist() == [[False, True], [True, True]]
