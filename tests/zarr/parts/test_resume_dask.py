"""A dask array whose writer was killed: the same task run writes what is not there, and computes no more."""

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

UNITS = 12
DATA = np.arange(1, 1 + UNITS * 16 * 16, dtype="uint16").reshape(UNITS, 16, 16)


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


def test_small_arrays_are_written_as_ever(keyed, tmp_path, monkeypatch):
    keyed("a key")
    monkeypatch.setattr(resumed, "_LEAST_BYTES", DATA.nbytes + 1)
    lose(tmp_path)
    assert left(tmp_path) == []


def test_small_blocks_make_up_a_part(keyed, tmp_path, monkeypatch):
    monkeypatch.setattr(resumed, "_UNIT_BYTES", 3 * DATA[0].nbytes)
    keyed("a key")
    lose(tmp_path)
    there = len([name for name in left(tmp_path) if name.endswith(".digests")])
    computed = []
    target = write(tmp_path, numbered(computed))
    assert len(computed) == UNITS - 3 * there
    target.persist().verify()


# Forks for each line of its input: a child is a worker that runs the task, with two threads, and kills itself
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

for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            run(*json.loads(line))
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
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
        [sys.executable, "-c", RUNS],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.stdout.split() == ["-9", "0"] * kills, done.stderr
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
