"""Broken requests and killed writers of Zarr, which is many objects and a manifest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, CprError
from cpr.io.stores.base import open_store
from cpr.io.write_markers import marker_url
from cpr.zarr.stores.manifest import manifest_url
from tests.faults.crash_process import seconds_to_end
from tests.faults.proxy import FAULTS
from tests.faults.test_fault_injection import HEALED, Bucket, outcome, requests_of

pytestmark = [pytest.mark.slow]

DATA = np.random.default_rng(0).integers(1, 60_000, (4, 40, 64), np.uint16)
OPTIONS = {
    "chunks": {"chunks": (2, 40, 64)},
    "shards": {"chunks": (1, 40, 32), "shards": (4, 40, 64), "compressors": None},
}

layouts = pytest.mark.parametrize("layout", ["chunks", pytest.param("shards", marks=pytest.mark.long)])
faults = pytest.mark.parametrize("fault", FAULTS)


@pytest.fixture
def bucket(s3_server, proxy):
    return Bucket(s3_server.client(), s3_server.bucket)


def target_in(base: str, layout: str) -> cpr.ZarrTarget:
    return cpr.ZarrTarget.from_path(f"{base}/cells.zarr", **OPTIONS[layout])


def written(base: str, layout: str) -> tuple[cpr.ZarrTarget | None, object]:
    target = target_in(base, layout)
    failed = outcome(lambda: target.set_data(DATA))
    return (None, failed) if isinstance(failed, CprError) else (target, outcome(target.serialize))


@pytest.mark.real_s3
@layouts
@faults
def test_uploads(layout, fault, proxy, s3_url, bucket):
    """Each request breaks once: a result that loads, or an error, no result, and nothing left of it."""
    kinds = requests_of(proxy, lambda: written(f"{s3_url}/undisturbed", layout))
    assert kinds.count("put") > 2
    for number in range(len(kinds)):
        base = f"{s3_url}/{number}"
        proxy.break_request(number, fault)
        target, record = written(base, layout)
        where = f"{fault} at request {number} of {kinds}: {record!r}"
        assert len(proxy.broken) == 1, where
        proxy.clear()
        if isinstance(record, CprError):
            assert fault not in HEALED, where
            assert record.url
            if target is None:
                assert bucket.urls(base) == set(), where
                continue
            assert manifest_url(target.url) not in bucket.urls(base), where
            record = target.serialize()
        again = cpr.load(record)
        assert np.array_equal(again.get_data()[...], DATA), where
        again.verify()
        assert bucket.open_uploads(base) == []
        # A marker that could not be removed is an orphan, and the result is none the worse.
        beside = {url for url in bucket.urls(base) if "/.cpr/" in url} - {marker_url(again.url)}
        assert beside == {manifest_url(again.url)}


@pytest.mark.real_s3
@layouts
@faults
def test_downloads(layout, fault, proxy, s3_url, bucket):
    target, record = written(s3_url, layout)
    assert target is not None
    for load in (
        lambda: cpr.load(record).get_data()[...],
        lambda: cpr.load(record).get_data(region=np.s_[...]),
        lambda: cpr.load(record).verify() and DATA,
    ):
        kinds = requests_of(proxy, load)
        for number in range(len(kinds)):
            proxy.break_request(number, fault)
            found = outcome(load)
            where = f"{fault} at request {number} of {kinds}: {found!r}"[:1000]
            assert len(proxy.broken) == 1, where
            if isinstance(found, CprError):
                assert fault not in (*HEALED, "cut body", "short"), where
            else:
                assert np.array_equal(found, DATA), where


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
    assert done.returncode == status, done.stderr
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


def test_a_chunk_whose_bytes_were_lost_is_no_zero(tmp_path):
    """The least that a manifest is for."""
    target = target_in(str(tmp_path), "chunks")
    target.set_data(DATA)
    record = target.serialize()
    io.remove(f"{target.url}/c/1/0/0")
    assert not os.path.exists(f"{target.url}/c/1/0/0")
    with pytest.raises(CorruptDataError):
        cpr.load(record).get_data()[...]
