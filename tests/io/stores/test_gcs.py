"""What is GCS's own: uploads that go on where they were interrupted, and checks of what arrived."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys

import pytest

from cpr import io
from cpr.errors import ResourceNotFoundError, TransferError
from cpr.io.clients import gcsfs as gcs_requests
from cpr.io.filesystems import filesystem
from cpr.io.objects import open_store
from cpr.io.stores import gcs_upload as resumable
from cpr.io.stores.base import OccupiedError
from tests.servers.gcs_faults import FAULTS, FaultyGCS

MiB = 1 << 20
PARTS = 4


@pytest.fixture
def proxy(gcs_server, monkeypatch):
    monkeypatch.setattr(resumable, "_PART_BYTES", MiB)
    monkeypatch.setattr(gcs_requests, "_FIRST_WAIT_SECONDS", 0.001)
    with FaultyGCS(gcs_server.endpoint) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)
        yield proxy


DATA = os.urandom(PARTS * MiB - 5)


def write(url: str) -> io.Stored:
    with io.writing(url) as file:
        file.write(DATA)
    return file.stored


def comes_back(url: str, stored: io.Stored) -> bool:
    with io.reading(url) as file:
        return file.finish() == (stored.checksum, stored.nbytes)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("part", range(PARTS))
def test_an_interrupted_upload_goes_on(proxy, gs_url, fault, part):
    proxy.faults[part] = fault
    assert comes_back(f"{gs_url}/a.bin", write(f"{gs_url}/a.bin"))
    assert proxy.open_sessions == 0
    assert len(proxy.sessions) == 1


@pytest.mark.parametrize("nbytes", [100, PARTS * MiB - 5])
def test_what_was_written_since_an_upload_began_is_not_replaced(proxy, gs_url, nbytes):
    """Of uploads in parts the emulator ignores conditions: the proxy heeds them, as the service does."""
    late = io.writing(f"{gs_url}/a.bin", create=True)
    late.__enter__().write(DATA[:nbytes])
    with io.writing(f"{gs_url}/a.bin", create=True) as file:
        file.write(DATA[::-1][:nbytes])
    with pytest.raises(OccupiedError):
        late.__exit__(None, None, None)
    assert comes_back(f"{gs_url}/a.bin", file.stored)
    assert proxy.open_sessions == 0


def test_many_interruptions_are_no_failure_while_it_gets_on(proxy, gs_url):
    dice = random.Random(0)
    proxy.faults = {number: dice.choice(FAULTS) for number in range(200) if dice.random() < 0.5}
    assert comes_back(f"{gs_url}/a.bin", write(f"{gs_url}/a.bin"))
    assert proxy.open_sessions == 0


@pytest.mark.parametrize("fault", ["503 before", "cut before"])
def test_an_upload_that_does_not_get_on_fails_and_is_cancelled(proxy, gs_url, fault):
    proxy.faults = dict.fromkeys(range(1, 999), fault)
    with pytest.raises(TransferError) as caught:
        write(f"{gs_url}/a.bin")
    assert caught.value.url == f"{gs_url}/a.bin"
    assert io.find(f"{gs_url}/*") == {}
    assert proxy.open_sessions == 0


@pytest.mark.parametrize("nbytes", [10, 4 * MiB])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_requests_are_repeated(proxy, gs_url, nbytes, status):
    """Two of five requests fail, whatever they are."""
    dice = random.Random(status + nbytes)
    proxy.refuse = lambda method, path: status if dice.random() < 0.4 else None
    with io.writing(f"{gs_url}/a.bin") as file:
        file.write(DATA[:nbytes])
    with io.reading(f"{gs_url}/a.bin") as arriving:
        assert arriving.read() == DATA[:nbytes]
    assert list(io.find(f"{gs_url}/*")) == [f"{gs_url}/a.bin"]
    io.remove(f"{gs_url}/a.bin")
    assert io.lookup(f"{gs_url}/a.bin") is None


@pytest.mark.parametrize("checks", [True, False])
def test_bytes_that_changed_on_their_way_are_not_shown(proxy, gs_url, checks):
    """The service refuses them; one that does not is found out by what it answers."""
    proxy.damage, proxy.checks = True, checks
    with pytest.raises(TransferError) as caught:
        write(f"{gs_url}/a.bin")
    assert caught.value.actual == ("400" if checks else "BadDigest")
    proxy.damage = False
    assert io.find(f"{gs_url}/*") == {}
    assert proxy.open_sessions == 0


def test_a_session_that_is_lost_is_no_missing_object(proxy, gs_url):
    proxy.refuse = lambda method, path: 410 if method == "PUT" else None
    with pytest.raises(TransferError) as caught:
        write(f"{gs_url}/a.bin")
    assert caught.value.actual == "410"
    assert not isinstance(caught.value, ResourceNotFoundError)


@pytest.mark.parametrize("pieces", [1, PARTS])
def test_an_upload_that_is_given_up_is_cancelled(proxy, gs_url, pieces):
    with pytest.raises(KeyboardInterrupt), io.writing(f"{gs_url}/a.bin") as file:
        file.write(DATA[: pieces * MiB])
        raise KeyboardInterrupt
    assert proxy.open_sessions == 0
    store, path = open_store(f"{gs_url}/b.bin")
    upload = store.upload(path)
    upload.write(memoryview(DATA))
    assert proxy.open_sessions == 1
    upload.abort()
    assert proxy.open_sessions == 0


def test_a_listing_that_is_refused_is_no_empty_folder(proxy, gs_url):
    for folder in ("open", "closed"):
        with io.writing(f"{gs_url}/{folder}/a.txt") as file:
            file.write(b"x")
    assert len(io.find(f"{gs_url}/*/*.txt")) == 2
    proxy.refuse = lambda method, path: 403 if "closed" in path else None
    for ask in (
        lambda: io.find(f"{gs_url}/*/*.txt"),
        lambda: io.find(f"{gs_url}/closed/*"),
        lambda: io.find_orphans(f"{gs_url}/closed"),
    ):
        with pytest.raises(TransferError, match="no permission to list"):
            ask()
    with pytest.raises(TransferError, match="no permission to look at"):
        io.stat(f"{gs_url}/closed/a.txt")
    proxy.refuse = lambda method, path: 401
    with pytest.raises(TransferError, match="no usable credentials"):
        io.stat(f"{gs_url}/open/a.txt")


def test_what_is_no_answer_of_the_store_is_a_failure(proxy, gs_url):
    proxy._forward = lambda *_: (200, {}, b"<html>Log in to the guest network</html>")
    with pytest.raises(TransferError):
        io.stat(f"{gs_url}/a.txt")


def test_objects_stored_compressed_come_as_they_are_stored(gs_url):
    import gzip

    packed = gzip.compress(b"text" * 1000)
    fs, path = filesystem(f"{gs_url}/a.txt.gz")
    fs.pipe_file(path, packed, fixed_key_metadata={"content_encoding": "gzip"})
    with io.reading(f"{gs_url}/a.txt.gz") as file:
        assert file.read() == packed


def test_parts_grow_and_2_tib_take_less_than_40_000():
    sizes, total, number = [], 0, 0
    while total < 2 << 40:
        number += 1
        sizes.append(resumable.part_bytes(number))
        total += sizes[-1]
    assert sizes == sorted(sizes)
    assert sizes[0] == 8 * MiB
    assert max(sizes) == 64 * MiB
    assert number < 40_000
    assert all(size % (256 << 10) == 0 for size in sizes)


FORK = """
import os, sys
from cpr import io

def read():
    with io.reading(sys.argv[1]) as file:
        return file.read()

data = read()
child = os.fork()
if not child:
    os._exit(0 if read() == data else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

ABANDON = """
import os, sys
from cpr import io

file = io.writing(sys.argv[1])
opened = file.__enter__()
opened.write(os.urandom(20 << 20))
"""


@pytest.mark.parametrize("code", [FORK, ABANDON], ids=["fork", "abandon"])
def test_processes_of_all_kinds_end(gs_url, code, gcs_server):
    """A forked child builds its own client; a writer that nobody closes hangs no interpreter."""
    name = "a.bin" if code is FORK else "b.bin"
    with io.writing(f"{gs_url}/a.bin") as file:
        file.write(DATA)
    with FaultyGCS(gcs_server.endpoint) as proxy:
        command = [sys.executable, "-c", code, f"{gs_url}/{name}"]
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": proxy.endpoint}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert proxy.open_sessions == 0
        assert len(proxy.sessions) == (code is ABANDON)
    assert list(io.find(f"{gs_url}/*")) == [f"{gs_url}/a.bin"]


def test_a_writer_that_is_collected_is_cancelled(proxy, gs_url):
    writing = io.writing(f"{gs_url}/a.bin")
    writing.__enter__().write(DATA)
    assert proxy.open_sessions == 1
    del writing
    gc.collect()
    assert proxy.open_sessions == 0


MEMORY = """
import sys, time
from cpr import io

def peak():
    # ru_maxrss begins with that of the process that started this one
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

block = bytes(range(256)) * 4096
before = peak()
started, cpu = time.monotonic(), time.process_time()
try:
    with io.writing("gs://bucket/a.bin") as file:
        for _ in range(int(sys.argv[1])):
            file.write(block)
except OSError as error:
    assert error.actual == "BadDigest", error  # nobody has kept it
print(peak() // 1024, before // 1024)
print(time.monotonic() - started, time.process_time() - cpu)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_object(monkeypatch):
    """4 GiB into a server that only counts them: two parts of 64 MiB, copies of them, the interpreter."""
    with FaultyGCS(None, checks=False) as proxy:
        environment = {**os.environ, "STORAGE_EMULATOR_HOST": proxy.endpoint}
        command = [sys.executable, "-c", MEMORY, str(4 << 10)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        print(done.stdout, proxy.parts)
        peak, before = map(int, done.stdout.split()[:2])
        assert proxy.sessions["1"].persisted >= 3 << 30
        assert peak - before < 320
