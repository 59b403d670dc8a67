"""Processes that die while they write: `python -m tests.faults.crash_process`, with a JSON plan in each line.

What takes long (importing) is done once; every plan is carried out by a fork of this process, which writes
targets of one kind, one after another, until it dies in the way and at the moment of the plan:

    {"kind": "npy", "base": "s3://...", "stream": false, "large": true, "end": "kill", "at": 5}

`end` says how, `at` at which of the moments that `moments` counts; or, if it is a float, after how many
seconds. The answer is a line of JSON: how the process ended, how long that took, and at which moment it was.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from cpr import io
from tests.target_cases import TARGET_CASES, TargetCase

MiB = 1 << 20
PART_BYTES = 5 * MiB  # the least that S3 takes
TARGETS = 6
ROWS = {"csv": 30_000, "csv.gz": 64_000, "parquet": 70_000}  # two of them are over PART_BYTES
NOT_ENDED = 77
ERROR = 78


def seconds_to_end() -> float:
    """How long a process may take to end: 10 s, and more only where several wait for each core."""
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return 10.0 * max(1.0, waiting / 2)


def noise(index: int) -> np.ndarray:
    """A plane of 2 MiB that no codec makes smaller."""
    return np.random.default_rng(index).integers(0, 1 << 16, (1024, 1024), np.uint16)


def numbers(index: int, count: int) -> pd.DataFrame:
    """Rows that no codec makes much smaller."""
    values = np.random.default_rng(index).integers(0, 1 << 62, (count, 5))
    rows = pd.RangeIndex(index * len(values), (index + 1) * len(values))
    return pd.DataFrame(values, columns=list("abcde"), index=rows)


def pieces(kind: TargetCase, large: bool) -> list[Any]:
    array = "shape" in kind.announce
    if not large:
        return [kind.piece(i) for i in range(4)]
    if array:
        return [noise(i) for i in range(3)]
    return [numbers(i, ROWS[kind.name]) for i in range(2)]


def whole(kind: TargetCase, large: bool) -> Any:
    parts = pieces(kind, large)
    return np.stack(parts) if "shape" in kind.announce else pd.concat(parts)


def fill(
    target: Any, kind: TargetCase, large: bool, stream: bool, data: Any, each: Callable[[], None]
) -> Any:
    """Store data; `each` is called between the pieces of a stream."""
    if not stream:
        target.set_data(data)
        return target.persist()

    def passing() -> Iterator[Any]:
        for piece in pieces(kind, large):
            yield piece
            each()

    announce = {"shape": data.shape, "dtype": str(data.dtype)} if "shape" in kind.announce else {}
    target.set_data(passing(), **announce)
    return target


class Moments:
    """Counts what happens, and ends the process at the moment of the plan."""

    def __init__(self, plan: dict[str, Any], answer: int) -> None:
        self.at, self.end, self.commit = plan["at"], plan["end"], plan.get("commit", False)
        self.base = plan["base"]
        self.answer = answer
        self.count = 0

    def __call__(self, name: str) -> None:
        if self.commit and not name.startswith("commit"):
            return
        self.count += 1
        if self.count - 1 == self.at:
            self.die(name)

    def die(self, name: str) -> None:
        os.write(self.answer, json.dumps([time.time(), name]).encode())
        if self.end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(10)
        elif self.end.startswith("term"):
            os.kill(os.getpid(), signal.SIGTERM)
        elif self.end == "exit":
            sys.exit(5)
        elif self.end == "raise":
            raise RuntimeError("on purpose")
        elif self.end == "rmtree":
            shutil.rmtree(self.base)


def count_moments(moments: Callable[[str], None]) -> None:
    """Call `moments` before, in the middle of and after whatever a store does."""
    from cpr.io.stores import local, s3_upload

    s3_upload.PART_BYTES = s3_upload.FAR_PART_BYTES = PART_BYTES
    opened, write = local.LocalUpload.__init__, local.LocalUpload.write
    fsync, replace, link = os.fsync, os.replace, os.link

    def counted_open(self: Any, *arguments: Any, **options: Any) -> None:
        opened(self, *arguments, **options)
        moments("open")

    def counted_write(self: Any, block: memoryview) -> None:
        write(self, block[: len(block) // 2])
        moments("write")
        write(self, block[len(block) // 2 :])

    def around(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: Any, **options: Any) -> None:
            moments(f"commit: before {name}")
            call(*arguments, **options)
            moments(f"commit: after {name}")

        return counted

    local.LocalUpload.__init__, local.LocalUpload.write = counted_open, counted_write  # type: ignore[method-assign]
    os.fsync, os.replace = around("fsync", fsync), around("replace", replace)  # type: ignore[assignment]
    os.link = around("link", link)  # type: ignore[assignment]

    from s3fs import S3FileSystem

    call = S3FileSystem._call_s3

    async def counted_call(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        stage = "commit: " if method in ("put_object", "complete_multipart_upload") else ""
        moments(f"{stage}before {method}")
        asyncio.get_running_loop().call_later(0.002, moments, f"{stage}during {method}")
        answer = await call(self, method, *args, **kwargs)
        moments(f"{stage}after {method}")
        return answer

    S3FileSystem._call_s3 = counted_call

    from cpr.io.stores.s3_obstore import FastBucket

    put = FastBucket.put

    def counted_put(self: Any, *arguments: Any, **options: Any) -> Any:
        moments("commit: before put")
        timer = threading.Timer(0.002, moments, ("commit: during put",))
        timer.daemon = True
        timer.start()
        answer = put(self, *arguments, **options)
        moments("commit: after put")
        return answer

    FastBucket.put = counted_put  # type: ignore[method-assign]


abandoned: list[Any] = []


def carry_out(plan: dict[str, Any], answer: int) -> None:
    """In a process of its own: write until the plan's moment comes."""
    kind = next(kind for kind in TARGET_CASES if kind.name == plan["kind"])
    large, stream = plan["large"], plan["stream"]
    data = whole(kind, large)
    moments = Moments(plan, answer)
    if plan["end"] == "term, handled":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if plan["end"] == "collect in the client's thread":
        collect_in_the_clients_thread(plan["base"], moments)
        return
    if plan["end"] in ("collect", "keep"):
        context = io.writing(f"{plan['base']}/abandoned.bin")
        file = context.__enter__()
        file.write(os.urandom(17 * MiB))
        moments.die("an open writer")
        if plan["end"] == "keep":
            abandoned.append(context)
        del context, file
        gc.collect()
        if plan["end"] == "collect":
            # Nothing hangs afterwards either.
            with io.writing(f"{plan['base']}/after.bin") as file:
                file.write(b"after")
        return
    each: Callable[[], None] = lambda: None
    if plan["end"] == "kill":
        count_moments(moments)
        if isinstance(moments.at, float):
            random.seed(moments.at)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            os.write(answer, json.dumps([time.time() + moments.at, "any time"]).encode())
            if os.fork() == 0:
                # Not a thread or a signal of the process itself: they wait for the interpreter.
                time.sleep(moments.at)
                os.kill(os.getppid(), signal.SIGKILL)
                os._exit(0)
    else:
        each = lambda: moments("a piece of a stream")
    for number in range(10 * TARGETS):
        # The first names come again: what is there already is read back.
        target = kind.cls().from_path(f"{plan['base']}/{number % TARGETS}{kind.ext}", **kind.options)
        fill(target, kind, large, stream, data, each)


def collect_in_the_clients_thread(base: str, moments: Moments) -> None:
    """The garbage collector runs in any thread: in that of all requests it must not wait for one."""
    from fsspec.asyn import get_loop

    cycle: list[Any] = []
    with io.writing(f"{base}/first.bin") as file:
        file.write(b"first")
    gc.disable()
    context = io.writing(f"{base}/abandoned.bin")
    context.__enter__().write(os.urandom(17 * MiB))
    cycle += [cycle, context]
    del context, cycle
    moments.die("an open writer in a cycle")

    async def collect() -> None:
        gc.collect()

    asyncio.run_coroutine_threadsafe(collect(), get_loop()).result(5)
    with io.writing(f"{base}/after.bin") as file:
        file.write(b"after")
    time.sleep(0.5)


def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Carry out one plan in a fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        carry_out(plan, writing)
        # Back in main: the interpreter ends as it does in any script.
        raise SystemExit(NOT_ENDED if plan["end"] in ("kill", "term") else 0)
    os.close(writing)
    deadline = time.monotonic() + 60
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)
            return {"status": "it hangs", "seconds": 60, "moment": "?"}
        time.sleep(0.005)
    ended = time.time()
    said = os.read(reading, 1000)
    os.close(reading)
    started, moment = json.loads(said) if said else (ended, "never")
    return {
        "status": os.waitstatus_to_exitcode(found[1]),
        "seconds": ended - started,
        "moment": moment,
    }


def main() -> None:
    import s3fs  # noqa: F401 - so that forks have it

    import cpr

    for name in ("ImageTarget", "NumpyTarget", "CSVTarget", "ParquetTarget"):
        getattr(cpr, name)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
