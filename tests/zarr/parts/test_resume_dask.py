"""An array that can be sliced, and whose writer was killed: the same run computes what is not there."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from datetime import timedelta

import dask
import dask.array as da
import numpy as np
import pytest

import cpr
from cpr import io
from cpr.zarr.parts import resumed
from cpr.zarr.stores.manifest import manifest_url
from tests.zarr.parts.task_processes import SERVE

UNITS = 12
DATA = np.arange(1, 1 + UNITS * 16 * 16, dtype="uint16").reshape(UNITS, 16, 16)


LARGE_BYTES, PART_BYTES = resumed._LEAST_BYTES, resumed._UNIT_BYTES


class LostError(Exception):
    """What ends a run in the midst."""


def numbered(computed=None, fails_at=None, of=DATA):
    """A dask array of a block for each plane, which notes what is computed of it."""
    counted = [] if computed is None else computed

    def plane(block, block_id=None):
        if block_id[0] == fails_at:
            raise LostError
        counted.append(block_id[0])
        return block

    array = da.from_array(of, chunks=(1, 16, 16), name=f"planes-{int(of[0, 0, 0])}")
    name = f"counted-{int(of[0, 0, 0])}"
    return da.map_blocks(plane, array, dtype=of.dtype, name=name, meta=np.empty((0, 0, 0), of.dtype))


@pytest.fixture
def keyed(monkeypatch):
    """Say under which key the test runs from now on; all arrays are large, and each block a part."""
    monkeypatch.setattr(resumed, "_LEAST_BYTES", 1)
    monkeypatch.setattr(resumed, "_UNIT_BYTES", 1)

    def under(key):
        monkeypatch.setattr(resumed, "running_key", lambda: key)

    with dask.config.set(scheduler="synchronous"):
        yield under


def write(where, data, **options):
    target = cpr.ZarrTarget.from_path(f"{where}/volume.zarr", **{"chunks": (1, 8, 16), **options})
    target.set_data(data)
    return target


def lose(where, at=8, **options):
    """End a run in the midst; the blocks that it has not computed."""
    computed = []
    with pytest.raises(LostError):
        write(where, numbered(computed, fails_at=at), **options)
    return sorted({*range(UNITS)} - {*computed})


def left(where):
    return sorted(io.find(f"{where}/.cpr/*", hidden=True))


@pytest.mark.parametrize(
    "options", [{}, {"shards": (1, 16, 16)}, {"zarr_format": 2}, {"dtype": "uint16"}], ids=str
)
def test_the_same_run_computes_what_is_not_written(options, keyed, tmp_path):
    if "dtype" in options:
        options = {**options, "shape": DATA.shape}
    keyed("a key")
    missing = lose(tmp_path, **options)
    computed = []
    target = write(tmp_path, numbered(computed), **options)
    assert sorted(computed) == missing
    assert np.array_equal(target.get_data()[...], DATA)
    record = target.serialize()
    assert left(tmp_path) == [manifest_url(target.url)]
    assert np.array_equal(cpr.load(record).get_data()[...], DATA)
    cpr.load(record).verify()
    assert target.uploaded > 0
    keyed(None)
    assert write(tmp_path / "at once", DATA, **options).data_hash == target.data_hash


@pytest.mark.parametrize("other", ["another key", "no key", "another array", "other chunks", "another name"])
def test_progress_of_others_is_never_adopted(other, keyed, tmp_path):
    keyed("a key")
    lose(tmp_path)
    keyed({"another key": "another", "no key": None}.get(other, "a key"))
    data = DATA[:, ::-1].copy() if other == "another array" else DATA
    computed = []
    options = {"chunks": (1, 16, 16)} if other == "other chunks" else {}
    place = tmp_path / "elsewhere" if other == "another name" else tmp_path
    target = write(place, numbered(computed, of=data), **options)
    assert sorted(computed) == list(range(UNITS))
    assert np.array_equal(target.persist().get_data()[...], data)


@pytest.mark.parametrize("harm", ["flip", "gone", "digests"])
def test_what_is_damaged_is_made_again(harm, keyed, tmp_path):
    keyed("a key")
    missing = lose(tmp_path)
    chunk = next(iter(io.find(f"{tmp_path}/volume-*.zarr/c/*/0/0")))
    if harm == "gone":
        io.remove(chunk)
    elif harm == "flip":
        with io.writing(chunk) as file:
            file.write(bytes(io.stat(chunk).nbytes))
        later = os.stat(chunk).st_mtime + 10  # not in the same tick of the disk's clock as the part's digests
        os.utime(chunk, (later, later))
    else:
        with io.writing(next(iter(io.find(f"{tmp_path}/.cpr/*.digests", hidden=True)))) as file:
            file.write(b"nothing")
    computed = []
    target = write(tmp_path, numbered(computed))
    assert len(computed) == len(missing) + 1
    assert np.array_equal(target.persist().get_data()[...], DATA)
    target.verify()


def test_two_targets_of_one_name_in_one_run(keyed, tmp_path):
    """Their arrays are others; or the same, and then it is one result."""
    keyed("a key")
    first, second = write(tmp_path, numbered()), write(tmp_path, numbered(of=DATA[:, ::-1].copy()))
    third = write(tmp_path, numbered())
    for target in (first, second, third):
        target.persist().verify()
    assert np.array_equal(second.get_data()[...], DATA[:, ::-1])
    assert np.array_equal(third.get_data()[...], DATA)
    assert first.url == third.url != second.url


def test_a_target_that_is_filled_again(keyed, tmp_path):
    keyed("a key")
    target = write(tmp_path, numbered())
    given_up = target.url
    target.set_data(numbered(of=DATA[:, ::-1].copy()))
    assert np.array_equal(target.persist().get_data()[...], DATA[:, ::-1])
    assert left(tmp_path) == [manifest_url(target.url)]
    # What this process has given up is written to no more.
    again = write(tmp_path, numbered())
    assert again.url != given_up
    again.persist().verify()


@pytest.fixture
def small(keyed, monkeypatch):
    """As `keyed`, with arrays and parts of the sizes that users have."""
    monkeypatch.setattr(resumed, "_LEAST_BYTES", LARGE_BYTES)
    monkeypatch.setattr(resumed, "_UNIT_BYTES", PART_BYTES)
    return keyed


def test_small_arrays_go_on_by_the_block(small, tmp_path):
    small("a key")
    missing = lose(tmp_path)
    computed = []
    target = write(tmp_path, numbered(computed))
    assert sorted(computed) == missing
    target.persist().verify()
    assert np.array_equal(target.get_data()[...], DATA)


@pytest.mark.parametrize("count", [63, 64, 65, 200])
def test_of_small_arrays_only_many_blocks_make_up_a_part(count, small, tmp_path):
    small("a key")
    data = np.arange(1, 1 + count * 16, dtype="uint16").reshape(count, 4, 4)
    target = cpr.ZarrTarget.from_path(f"{tmp_path}/volume.zarr", chunks=(1, 4, 4))
    target.set_data(da.from_array(data, chunks=(1, 4, 4), name="many"))
    parts = len([name for name in left(tmp_path) if name.endswith(".digests")])
    assert parts == -(-count // -(-count // 64))
    assert np.array_equal(target.persist().get_data()[...], data)
    target.verify()


@pytest.mark.parametrize("data", [da.from_array(DATA, chunks=DATA.shape), DATA], ids=["one block", "numpy"])
def test_nothing_goes_on_where_there_is_one_block(data, small, tmp_path):
    small("a key")
    write(tmp_path, data)
    assert [name for name in left(tmp_path) if name.endswith(".digests")] == []


def test_small_blocks_make_up_a_part(keyed, tmp_path, monkeypatch):
    monkeypatch.setattr(resumed, "_UNIT_BYTES", 3 * DATA[0].nbytes)
    keyed("a key")
    lose(tmp_path)
    there = len([name for name in left(tmp_path) if name.endswith(".digests")])
    computed = []
    target = write(tmp_path, numbered(computed))
    assert len(computed) == UNITS - 3 * there
    target.persist().verify()


IMAGE = np.random.default_rng(3).integers(0, 2**16, (2, 6, 50, 70), dtype="uint16")
IMAGES = [
    {"chunks": (1, 1, 20, 20), "levels": 4},
    {"chunks": (1, 1, 10, 10), "shards": (1, 1, 20, 20), "levels": 3},
    {"chunks": (1, 2, 20, 20), "levels": 3, "downscale": "ZYX", "shape": IMAGE.shape, "dtype": IMAGE.dtype},
    {"levels": 3, "downsample": "mode", "colors": ("red", "green"), "attributes": {"of": "an embryo"}},
    {"chunks": (1, 1, 20, 20), "levels": 3, "metadata": {"axes": "ZCYX", "unit": "micron"}},
]


class Sliced:
    """An array elsewhere that can be sliced, and is lost after some slices."""

    def __init__(self, data, chunks, lost_after=None):
        self.data, self.chunks, self.lost_after = data, chunks, lost_after
        self.shape, self.dtype, self.elements = data.shape, data.dtype, 0

    def __getitem__(self, region):
        if self.lost_after is not None and self.elements >= self.lost_after:
            raise LostError
        self.elements += self.data[region].size
        return self.data[region]


def image(where, data, **options):
    target = cpr.OMEZarrTarget.from_path(
        f"{where}/cells.ome.zarr", **{"metadata": {"axes": "CZYX"}, "name": "cells", **options}
    )
    target.set_data(data)
    return target


@pytest.mark.parametrize("unit", [1, 4000, 20_000])
@pytest.mark.parametrize("options", IMAGES, ids=str)
def test_an_image_that_goes_on_is_the_one_at_once(options, unit, keyed, tmp_path, monkeypatch):
    monkeypatch.setattr(resumed, "_UNIT_BYTES", unit)
    cut = (1, 1, 17, 31)
    for how in ("dask", "slices"):
        keyed(None)
        blocks = da.from_array(IMAGE, chunks=cut, name="image")
        whole = blocks if how == "dask" else Sliced(IMAGE, cut)
        expected = image(tmp_path / how / "once", whole, **options)
        keyed("a key")
        half = IMAGE.size // 2
        seen = []

        def lost_later(block, seen=seen, half=half):
            if sum(seen) >= half:
                raise LostError
            seen.append(block.size)
            return block

        meta = np.empty((0,) * 4, IMAGE.dtype)
        failing = da.map_blocks(lost_later, blocks, name="counted", dtype=IMAGE.dtype, meta=meta)
        with pytest.raises(LostError):
            image(tmp_path / how, failing if how == "dask" else Sliced(IMAGE, cut, half), **options)
        again = []
        goes_on = da.map_blocks(
            lambda block, again=again: again.append(block.size) or block,
            blocks,
            name="counted",
            dtype=IMAGE.dtype,
            meta=meta,
        )
        data = goes_on if how == "dask" else Sliced(IMAGE, cut)
        target = image(tmp_path / how, data, **options)
        assert target.data_hash == expected.data_hash
        assert sum(again) + getattr(data, "elements", 0) < IMAGE.size
        stored = cpr.load(target.serialize())
        stored.verify()
        assert stored.get_metadata() == expected.get_metadata()
        beside = left(tmp_path / how)
        assert beside == [manifest_url(target.url)]
        for level, other in zip(stored.levels(), expected.levels(), strict=True):
            assert np.array_equal(level.data[...], other.data[...])


@pytest.mark.parametrize("harm", ["a chunk", "a chunk of a smaller level", "digests"])
def test_a_damaged_part_of_an_image_is_made_again(harm, keyed, tmp_path):
    keyed("a key")
    options = {"chunks": (1, 1, 20, 20), "levels": 3}
    with pytest.raises(LostError):
        image(tmp_path, Sliced(IMAGE, (1, 1, 40, 70), IMAGE.size // 2), **options)
    pattern = {"a chunk": "0/c/0/0/*/*", "a chunk of a smaller level": "1/c/0/0/*/*"}.get(harm)
    places = f"cells-*.ome.zarr/{pattern}" if pattern else ".cpr/*.digests"
    place = min(io.find(f"{tmp_path}/{places}", hidden=True))
    with io.writing(place) as file:
        file.write(bytes(io.stat(place).nbytes))
    later = os.stat(place).st_mtime + 10
    os.utime(place, (later, later))
    data = Sliced(IMAGE, (1, 1, 40, 70))
    target = image(tmp_path, data, **options)
    assert IMAGE.size // 2 < data.elements < IMAGE.size
    target.persist().verify()
    keyed(None)
    assert image(tmp_path / "once", IMAGE, **options).data_hash == target.data_hash


def test_labels_of_an_image_that_goes_on(keyed, tmp_path):
    """What was written of labels by a run that was lost is removed, and they are written anew."""
    keyed("a key")
    mask = IMAGE[0] > 1 << 15
    first = image(tmp_path, Sliced(IMAGE, (1, 1, 40, 70)), chunks=(1, 1, 20, 20), levels=3)
    first.add_labels("lost", mask)
    first.add_labels("cells", mask)
    data = Sliced(IMAGE, (1, 1, 40, 70))
    target = image(tmp_path, data, chunks=(1, 1, 20, 20), levels=3)
    assert data.elements == 0
    target.add_labels("cells", mask)
    stored = cpr.load(target.serialize())
    assert list(stored.labels()) == ["cells"]
    stored.verify()
    keyed(None)
    once = image(tmp_path / "once", IMAGE, chunks=(1, 1, 20, 20), levels=3)
    once.add_labels("cells", mask)
    assert once.persist().data_hash == stored.data_hash


def test_two_processes_of_one_run_at_once(keyed, tmp_path):
    """What one is about to publish stays, whatever the other does, and however far that comes."""
    keyed("a key")
    options = {"chunks": (1, 1, 20, 20), "levels": 4}
    first = image(tmp_path, Sliced(IMAGE, (1, 1, 40, 70)), **options)
    first.add_labels("cells", IMAGE[0] > 1 << 15)
    second = image(tmp_path, Sliced(IMAGE, (1, 1, 40, 70)), **options)
    stored = cpr.load(first.serialize())
    stored.verify()
    assert second.url == first.url
    second.add_labels("cells", IMAGE[0] > 1 << 15)
    assert second.persist().data_hash == stored.data_hash
    stored.verify()


def test_planes_that_pass_begin_anew(keyed, tmp_path):
    """They cannot be asked for those that are missing; what a run that failed has written is removed."""
    keyed("a key")

    def planes(fail_at=None):
        for number, plane in enumerate(DATA):
            if number == fail_at:
                raise LostError
            yield plane

    target = cpr.ZarrTarget.from_path(f"{tmp_path}/volume.zarr", chunks=(1, 16, 16))
    with pytest.raises(LostError):
        target.set_data(planes(8), DATA.shape, DATA.dtype)
    assert left(tmp_path) == []
    target.set_data(planes(), DATA.shape, DATA.dtype)
    target.persist().verify()


# A child is a worker that runs the task, with two threads, and kills itself
# at its n-th step, before it or after it; it tells of each block that it computes.
RUNS = """
import functools, json, os, signal, sys, threading
import dask
import dask.array as da
import numpy as np
import cpr
import cpr.zarr.ZarrPart, cpr.zarr.ZarrTarget
from cpr.zarr.parts import resumed
from cpr.zarr.stores.local import FastLocalStore

resumed._LEAST_BYTES = resumed._UNIT_BYTES = 1
resumed.running_key = lambda: "a key"
DATA = np.arange(1, 1 + 12 * 16 * 16, dtype="uint16").reshape(12, 16, 16)
lock, count = threading.Lock(), 0

def run(url, log, record, at, when):
    def counting(function):
        @functools.wraps(function)
        def counted(*args, **kwargs):
            global count
            with lock:
                count += 1
                mine = count
            if mine == at and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **kwargs)
            if mine == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        return counted

    def plane(block, block_id=None):
        with open(log, "a") as file:
            file.write(f"{block_id[0]}\\n")
        return block

    FastLocalStore.set_sync = counting(FastLocalStore.set_sync)
    for name in ("ZarrPart", "ZarrTarget"):
        module = sys.modules[f"cpr.zarr.{name}"]
        module.put_blocks = counting(module.put_blocks)
    array = da.from_array(DATA, chunks=(1, 16, 16), name="a")
    meta = np.empty((0, 0, 0), "uint16")
    array = da.map_blocks(counting(plane), array, dtype="uint16", name="b", meta=meta)
    target = cpr.ZarrTarget.from_path(url, chunks=(1, 8, 16))
    with dask.config.set(scheduler="threads", num_workers=2):
        target.set_data(array)
    with open(record, "w") as file:
        json.dump(target.serialize(), file)
"""
STEPS = UNITS * (1 + 3 + 1) + 1  # a block computed, metadata and two chunks, a part's digests; the manifest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.long)])
def test_killed_at_random_points(kills, tmp_path):
    """Right each time; computed twice is what was under way, a block of each thread; nothing is left over."""
    draw = random.Random(kills)
    points = [(draw.randint(1, STEPS), draw.choice(["before", "after"])) for _ in range(kills)]
    points[:2] = (1, "before"), (STEPS, "before")
    lines = []
    for number, (at, when) in enumerate(points):
        names = [str(tmp_path / f"{number}{end}") for end in ("/volume.zarr", ".log", ".json")]
        lines += [json.dumps([*names, at, when]), json.dumps([*names, 0, ""])]
    done = subprocess.run(
        [sys.executable, "-c", RUNS + SERVE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.stdout.split()[1::2] == ["-9", "0"] * kills, done.stderr  # after the id of each
    twice = 0
    for number, point in enumerate(points):
        target = cpr.load(json.loads((tmp_path / f"{number}.json").read_text()))
        assert np.array_equal(target.get_data()[...], DATA), point
        assert target.verify() == 1 + 2 * UNITS
        if point != (STEPS, "after"):  # published, and nobody was told
            # What a file had got of which the writer was killed, is an orphan as ever.
            io.remove_orphans(str(tmp_path / str(number)), timedelta(seconds=-60))
            assert left(tmp_path / str(number)) == [manifest_url(target.url)]
            log = tmp_path / f"{number}.log"
            computed = log.read_text().split()
            assert set(computed) == {str(n) for n in range(UNITS)}
            assert len(computed) <= UNITS + 2, point
            twice += len(computed) - UNITS
    print(f"{kills} kills, {twice} blocks computed twice")
