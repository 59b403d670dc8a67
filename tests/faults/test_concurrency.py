"""Many processes and threads at one target, and at one lock, at the same time; killed, stopped, cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.io.locks import leases
from cpr.io.locks.compare_and_swap import read
from tests.faults.proxy import FaultProxy
from tests.faults.test_forged_content import forged

ROOT = Path(__file__).parents[2]
PROCESSES, THREADS = 5, 10
pytestmark = pytest.mark.s3

PERSISTING = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np, cpr, cpr.io
url, me, threads, different, size = sys.argv[1], *map(int, sys.argv[2:])
ready = threading.Barrier(threads)
cpr.io.lookup(url + "/warm")
print("ready", flush=True)
sys.stdin.readline()

def one(thread):
    target = cpr.NumpyTarget.from_path(f"{url}/same.npy")
    target.set_data(np.full(size, me * threads + thread if different else 7, "int64"))
    ready.wait(60)
    try:
        return target.persist().serialize()
    except Exception as error:
        return repr(error)

with ThreadPoolExecutor(threads) as pool:
    print(json.dumps(list(pool.map(one, range(threads)))))
"""

COLLIDING = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np, cpr, cpr.io
from tests.faults.test_forged_content import forged
url, me, threads, rounds, ext = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
ready = threading.Barrier(threads)
kind = {".npy": cpr.NumpyTarget, ".tif": cpr.ImageTarget}[ext]
cpr.io.lookup(url + "/warm")
print("ready", flush=True)
sys.stdin.readline()

def one(thread):
    found = []
    for round in range(rounds):
        data = forged((64, 128))[(me + thread + round) % 2]
        target = kind.from_path(f"{url}/{round}/same{ext}")
        target.set_data(data)
        ready.wait(60)
        try:
            record = target.persist().serialize()
            right = np.array_equal(cpr.load(record).get_data(), data)
            found.append([(me + thread + round) % 2, record if right else "other data came back"])
        except Exception as error:
            found.append([0, repr(error)])
    return found

with ThreadPoolExecutor(threads) as pool:
    print(json.dumps(sum(pool.map(one, range(threads)), [])))
"""

HOLDING = """
import sys, time
from cpr.io.locks.leases import acquiring, lease_here, release
url, seconds = sys.argv[1], float(sys.argv[2])
steps = acquiring(url, "me", seconds=seconds)
try:
    while True:
        time.sleep(next(steps))
except StopIteration as end:
    lease = end.value
print("held", flush=True)
sys.stdin.readline()
deadline = time.monotonic() + 30
while lease.is_valid and time.monotonic() < deadline:
    time.sleep(0.05)
print("valid" if lease.is_valid else "lost", lease.confirm(), flush=True)
release(url, "me")
print("released", flush=True)
"""


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process, line):
    found = process.stdout.readline()
    assert found.strip() == line, found + process.stderr.read()


@pytest.mark.real_s3
@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [500, pytest.param(2_500_000, marks=pytest.mark.long)], ids=["one part", "20 MB in parts"]
)
@pytest.mark.parametrize("different", [False, True], ids=["equal", "different"])
def test_fifty_persist_at_once(different, size, s3_url, open_uploads):
    processes = [
        start(PERSISTING, s3_url, index, THREADS, int(different), size) for index in range(PROCESSES)
    ]
    for process in processes:
        said(process, "ready")
    answers = []
    with ThreadPoolExecutor(PROCESSES) as pool:
        for output, errors in pool.map(lambda one: one.communicate("go\n", timeout=500), processes):
            assert output, errors
            answers += json.loads(output)
    assert len(answers) == PROCESSES * THREADS
    assert [answer for answer in answers if isinstance(answer, str)] == []
    objects = io.find(f"{s3_url}/same-*.npy")
    assert len(objects) == (len(answers) if different else 1)
    for number, answer in enumerate(answers):
        wanted = number if different else 7
        assert np.array_equal(cpr.load(answer).get_data(), np.full(size, wanted, "int64"))
    assert open_uploads() == []


@pytest.mark.real_s3
@pytest.mark.slow
@pytest.mark.parametrize("checksum", ["xxh3_128", "sha256"])
@pytest.mark.parametrize("ext", [".npy", ".tif"])
def test_two_results_of_one_name_written_and_read_at_once(ext, checksum, s3_url, open_uploads, monkeypatch):
    """Of two arrays that were made to have one `data_hash` neither is ever read for the other."""
    monkeypatch.setenv("CPR_CHECKSUM", checksum)
    processes = [start(COLLIDING, s3_url, index, 6, 4, ext) for index in range(4)]
    for process in processes:
        said(process, "ready")
    answers = []
    with ThreadPoolExecutor(len(processes)) as pool:
        for output, errors in pool.map(lambda one: one.communicate("go\n", timeout=500), processes):
            assert output, errors
            answers += json.loads(output)
    assert len(answers) == 4 * 6 * 4
    assert [answer for _, answer in answers if isinstance(answer, str)] == []
    both = forged((64, 128))
    for which, answer in answers:
        assert np.array_equal(cpr.load(answer).get_data(), both[which])
    assert {which for which, _ in answers} == {0, 1}
    assert len({answer["__cpr__"]["data_hash"] for _, answer in answers}) == 1
    assert open_uploads() == []


def take(url, **options):
    steps = leases.acquiring(url, "test", **options)
    try:
        while True:
            time.sleep(next(steps))
    except StopIteration as end:
        return end.value


@pytest.mark.real_s3
@pytest.mark.slow
def test_of_a_killed_holder_the_lock_passes_on(s3_url):
    url = f"{s3_url}/locks/{'a' * 32}.cpr-lease"
    holder = start(HOLDING, url, 2)
    said(holder, "held")
    assert take(url, timeout=3) is None  # renewed: still held after more than its length
    holder.kill()
    holder.wait()
    started = time.monotonic()
    assert take(url, timeout=60).is_valid
    assert time.monotonic() - started < 30
    leases.release(url, "test")


@pytest.mark.real_s3
@pytest.mark.slow
def test_a_stopped_holder_notices_that_it_lost_the_lock(s3_url):
    url = f"{s3_url}/locks/{'b' * 32}.cpr-lease"
    holder = start(HOLDING, url, 2)
    said(holder, "held")
    os.kill(holder.pid, signal.SIGSTOP)
    try:
        mine = take(url, timeout=60)
    finally:
        os.kill(holder.pid, signal.SIGCONT)
    output, errors = holder.communicate("go on\n", timeout=60)
    assert output.splitlines() == ["lost False", "released"], errors
    assert "makes no difference" in errors
    assert mine.confirm()  # who lost it has not touched it
    leases.release(url, "test")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["cut before", "cut after", "503"])
@pytest.mark.parametrize("number", range(4))
def test_a_lost_answer_makes_no_difference(number, fault, s3_server, s3_url, monkeypatch):
    """To creating, renewing, giving back or taking anew: each is done once, and known to be."""
    with FaultProxy(s3_server.endpoint) as proxy:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            monkeypatch.setenv(name, proxy.endpoint)
        url = f"{s3_url}/locks/{'c' * 32}.cpr-lease"
        monkeypatch.setattr(leases, "require_conditional", lambda folder: None)
        proxy.break_request(number, fault, "put")
        first = take(url, seconds=60)
        assert first.is_valid
        first.renew()
        assert first.is_valid
        leases.release(url, "test")
        assert json.loads(read(url).content)["released"]
        assert take(url, seconds=60, timeout=5).is_valid
        leases.release(url, "test")
        assert proxy.broken == [f"put: {fault}"]
