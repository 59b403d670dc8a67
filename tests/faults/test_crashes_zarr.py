"""Writers of Zarr that are killed or end in the midst: no wrong result, and nothing that stays for ever."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from datetime import timedelta

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CprError
from cpr.io.objects import open_store
from cpr.zarr.stores.manifest import manifest_url
from tests.faults.crash_process import seconds_to_end

pytestmark = pytest.mark.slow

# Forks for each line of its input, and the child kills itself at its n-th request: before it, after it, or in
# its midst. What is left is every state that a writer can leave a store in.
WRITERS = """
import json, os, signal, sys, threading, time
import numpy as np
import zarr.storage
import cpr
import cpr.io.write_markers, cpr.zarr.ZarrTarget, cpr.zarr.unpublished_attempts
from cpr.zarr.stores.s3 import ObstoreFirstStore
from cpr.zarr.stores.local import FastLocalStore
import s3fs, obstore

module = sys.modules["cpr.zarr.ZarrTarget"]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def write(base, at, when, later, record):
    count = 0

    def begin():
        nonlocal count
        count += 1
        if count == at and when == "before":
            die()
        if count == at and when == "amid":
            threading.Thread(target=lambda: (time.sleep(later), die())).start()
        return count

    def counting(function):
        async def counted(*args, **kwargs):
            mine = begin()
            result = await function(*args, **kwargs)
            if mine == at:
                die()
            return result
        return counted

    def counting_sync(function):
        def counted(*args, **kwargs):
            mine = begin()
            result = function(*args, **kwargs)
            if mine == at:
                die()
            return result
        return counted

    FastLocalStore.set = counting(FastLocalStore.set)
    FastLocalStore.set_sync = counting_sync(FastLocalStore.set_sync)
    for store in (zarr.storage.FsspecStore, ObstoreFirstStore):
        store.set = counting(store.set)
    cpr.zarr.unpublished_attempts.mark = counting_sync(cpr.zarr.unpublished_attempts.mark)
    module.put_blocks = counting_sync(module.put_blocks)
    cpr.io.write_markers.lookup = counting_sync(cpr.io.write_markers.lookup)
    cpr.io.write_markers.unmark = counting_sync(cpr.io.write_markers.unmark)
    data = np.arange(1, 1 + 8 * 40 * 40, dtype="uint16").reshape(8, 40, 40)
    target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr", chunks=(1, 20, 20))
    target.set_data(data)
    # What a record would say, known before the manifest is there: a reader may hold it.
    manifest = target._manifest
    fields = {"type": "ZarrTarget", "location": target.location, "name": "cells",
        "ext": ".zarr", "key": target.key, "data_hash": target.data_hash, "checksum": manifest.checksum,
        "manifest": manifest.nbytes, "nbytes": manifest.total + manifest.nbytes}
    with open(record, "w") as file:
        json.dump({"__cpr__": fields}, file)
    target.persist()
    sys.exit(f"{count} requests, none of them number {at}")

for line in sys.stdin:
    child = os.fork()
    if not child:
        write(*json.loads(line))
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""

DATA = np.arange(1, 1 + 8 * 40 * 40, dtype="uint16").reshape(8, 40, 40)
OBJECTS = 1 + 8 * 4  # metadata and chunks
REQUESTS = 1 + OBJECTS + 3  # the marker; the objects; the manifest, a look at the marker, its end
NOW = timedelta(seconds=-60)


@pytest.mark.parametrize("place", ["local", pytest.param("s3", marks=pytest.mark.s3)])
@pytest.mark.parametrize("kills", [16, pytest.param(50, marks=pytest.mark.long)])
def test_killed_writers_leave_no_readable_target_and_nothing_for_ever(place, kills, tmp_path, request):
    base = str(tmp_path / "out") if place == "local" else request.getfixturevalue("s3_url")
    draw = random.Random(kills)
    cases = [(1, "before"), (1, "amid"), (REQUESTS - 3, "after")]
    cases += [(at, when) for at in (REQUESTS - 2, REQUESTS) for when in ("before", "amid", "after")]
    while len(cases) < kills:
        cases.append((draw.randint(1, REQUESTS), draw.choice(["before", "amid", "after"])))
    lines = [
        json.dumps([f"{base}/{number}", at, when, draw.random() / 500, str(tmp_path / f"{number}.json")])
        for number, (at, when) in enumerate(cases)
    ]
    done = subprocess.run(
        [sys.executable, "-c", WRITERS],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.split() == ["-9"] * kills, done.stderr
    published = []
    for number, (at, when) in enumerate(cases):
        record = tmp_path / f"{number}.json"
        manifests = list(io.find(f"{base}/{number}/.cpr/*.blocks"))
        if not record.exists():
            assert manifests == []
            continue
        target = cpr.load(json.loads(record.read_text()))
        if manifests:
            # Killed while or after it was published: then it is whole.
            assert (at, when) >= (REQUESTS - 2, "after") or (at, when) == (REQUESTS - 2, "amid")
            assert np.array_equal(target.get_data()[...], DATA)
            assert target.verify() == OBJECTS
            published.append(target)
        else:
            assert at <= REQUESTS - 2
            for ask in (target.check, target.get_data, target.verify):
                with pytest.raises(cpr.ResourceNotFoundError):
                    ask()
    assert len(published) >= 4
    # What they left is young; one day it is removed, and no more than that.
    assert io.find_orphans(base) == []
    assert len([one for one in io.find_orphans(base, NOW) if one.is_folder]) >= 3
    removed = io.remove_orphans(base, NOW)
    assert io.find_orphans(base, NOW) == []
    left = set(io.find(f"{base}/**")) | set(io.find(f"{base}/*/.cpr/*"))
    kept = {target.url for target in published}
    assert {url for url in left if not any(url.startswith(f"{one}/") for one in kept)} == {
        manifest_url(url) for url in kept
    }
    for target in published:
        assert target.verify() == OBJECTS
    print(f"{place}: {kills} kills, {len(published)} published and whole, {len(removed)} orphans removed")


# ---- ends that are no kill


ENDING = """
import gc, os, shutil, signal, sys, time
import numpy as np
import cpr

base, end = sys.argv[1:]
noise = np.random.default_rng(0).integers(0, 1 << 16, (1024, 1024), np.uint16)
if end == "term, handled":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

def planes():
    for number in range(40):
        yield noise ^ np.uint16(number)
        if number == 5:
            print(time.time(), flush=True)
            if end.startswith("term"):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            elif end == "exit":
                sys.exit(5)
            elif end == "raise":
                raise RuntimeError("on purpose")
            elif end == "rmtree":
                shutil.rmtree(base)

target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr", chunks=(1, 1024, 1024))
if end in ("collect", "keep"):
    group = target.create().create_array("0", data=noise)
    print(time.time(), flush=True)
    if end == "collect":
        del target, group
        gc.collect()
else:
    target.set_data(planes(), shape=(40, 1024, 1024), dtype="uint16")
    print(time.time())
    target.persist()
"""


def everything(base: str) -> set[str]:
    store, path = open_store(base)
    return {entry.url for entry in store.walk(path)}


def ended(base: str, end: str, status: int) -> set[str]:
    """End a process in the middle of a write; what is there afterwards, none of it a result."""
    done = subprocess.run(
        [sys.executable, "-c", ENDING, base, end], capture_output=True, text=True, timeout=60, check=False
    )
    assert time.time() - float(done.stdout.split()[0]) < seconds_to_end()
    # With requests under way the interpreter may abort at its end: no result is there all the same.
    assert done.returncode in ({status, -6} if end == "keep" else {status}), done.stderr
    left = everything(base)
    assert not any("/.cpr/" in url and not url.endswith(".unfinished") for url in left)
    return left


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.real_s3)])
def base(request, tmp_path):
    return str(tmp_path / "out") if request.param == "local" else request.getfixturevalue("s3_url")


@pytest.mark.parametrize(("end", "status"), [("exit", 5), ("raise", 1), ("term, handled", 143)])
def test_a_write_that_ends_early_leaves_nothing(end, status, base):
    assert ended(base, end, status) == set()


@pytest.mark.parametrize(("end", "status"), [("term", -15), ("collect", 0), ("keep", 0)])
def test_what_cannot_be_removed_is_no_result(end, status, base):
    """A signal that nobody handles, or a hierarchy that nobody closes: chunks, and no manifest."""
    left = ended(base, end, status)
    assert left
    assert all("/cells-" in url for url in left)
    orphans = io.remove_orphans(base, timedelta(0))
    assert [orphan.is_folder for orphan in orphans] == [True]
    assert everything(base) == set()


def test_the_directory_is_removed(tmp_path):
    """Zarr makes folders as it goes, so the write may go on; what is published can then not be read."""
    base = str(tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", ENDING, base, "rmtree"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert time.time() - float(done.stdout.split()[-1]) < seconds_to_end()
    if done.returncode == 0:
        with pytest.raises(CprError):
            cpr.load(done.stdout).get_data()
    else:
        assert not any("/.cpr/" in url and not url.endswith(".unfinished") for url in everything(base))


def test_the_disk_is_full(small_disk):
    disk = small_disk("20m")
    left = ended(disk, "disk", 1)
    assert left == set()
