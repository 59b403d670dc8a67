"""Flows for workers that share nothing, and the children that their tasks start.

`python -m tests.flows.isolated_flows RECORD URL INDEX` is such a child:
it reads one target and writes the next.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
from prefect import flow

import cpr
from cpr import NumpyTarget

SIDE = 64
CHILD_SECONDS = 60


def array(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 1 << 16, (SIDE, SIDE), np.uint16)


def put(url: str, index: int) -> NumpyTarget:
    target = NumpyTarget.from_path(f"{url}/{index}.npy")
    target.set_data(array(index))
    return target.persist()


def note(url: str, what: str) -> None:
    """One object for every time that something was really done."""
    with cpr.io.writing(f"{url}/notes/{what}-{os.urandom(8).hex()}") as file:
        file.write(b"done")


def step(record: str, url: str, index: int) -> str:
    """In a child: what another process has stored is read, compared, and the next one stored."""
    found = cpr.load(record).get_data()
    assert np.array_equal(found, array(index)), "another array came back"
    return json.dumps(put(url, index + 1000).serialize())


def forked(record: str, url: str, index: int) -> str:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Its parent may be killed; and a lock of OpenSSL's that another thread held it never gets.
        signal.alarm(CHILD_SECONDS)
        status = 1
        try:
            os.write(write, step(record, url, index).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    deadline = time.monotonic() + CHILD_SECONDS
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise TimeoutError("the forked child hangs")
        time.sleep(0.02)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    if os.waitstatus_to_exitcode(ended[1]):
        raise RuntimeError("the forked child failed")
    return answer


def spawned(record: str, url: str, index: int) -> str:
    command = [sys.executable, "-m", "tests.flows.isolated_flows", record, url, str(index)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=CHILD_SECONDS).stdout


@cpr.task(retries=3)
def made(url: str, index: int, seconds: float) -> NumpyTarget:
    target = NumpyTarget.from_path(f"{url}/made/{index}.npy")
    target.set_data(array(index))
    time.sleep(seconds)
    return target


@cpr.task(retries=3)
def handed_on(source: NumpyTarget, url: str, index: int, how: str) -> NumpyTarget:
    """Read in this worker, and in a child of it, which writes another one."""
    assert np.array_equal(source.get_data(), array(index)), "another array came back"
    record = json.dumps(source.serialize())
    if how == "here":
        return put(f"{url}/handed", index + 1000)
    target: Any = cpr.load((forked if how == "fork" else spawned)(record, f"{url}/handed", index))
    note(url, how)
    return target


@flow
def sharing(url: str, ways: list[str], seconds: float) -> list[tuple[NumpyTarget, NumpyTarget]]:
    first = [made.submit(url, index, seconds) for index in range(len(ways))]
    second = [handed_on.submit(first[index], url, index, how) for index, how in enumerate(ways)]
    return [(one.result(), two.result()) for one, two in zip(first, second, strict=True)]


def once(locks: str) -> Any:
    """A flow that asks for one key many times at once; every computation is noted."""

    @cpr.task(lock=cpr.BucketLocks(locks, 5))
    def computed(url: str) -> NumpyTarget:
        note(url, "computed")
        time.sleep(1)
        return put(url, 7)

    @flow
    def asking(url: str, times: int) -> list[NumpyTarget]:
        return [future.result() for future in [computed.submit(url) for _ in range(times)]]

    return asking


@cpr.task
def where(index: int) -> dict[str, Any]:
    """Who runs this, and whether others' folders can be read."""
    time.sleep(0.5)
    home = os.environ["HOME"]
    own = os.path.dirname(home)
    base, me = os.path.split(own)
    others = [os.path.join(base, f"worker-{n}") for n in range(8) if f"worker-{n}" != me]
    return {
        "user": os.geteuid(),
        "home": home,
        "cwd": os.getcwd(),
        "readable": [other for other in others if os.access(other, os.R_OK | os.X_OK)],
        "index": index,
    }


@flow
def asking_where(times: int) -> list[dict[str, Any]]:
    return [future.result() for future in [where.submit(index) for index in range(times)]]


if __name__ == "__main__":
    print(step(sys.argv[1], sys.argv[2], int(sys.argv[3])))
