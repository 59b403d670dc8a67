"""Writes a Zarr in a fork, for each line of its input, and is killed at one of its operations.

    {"case": name, "base": url, "given": records, "environment": {...}, "at": 7 or null}

It tells its process id, and then the status with which it ended: minus nine, or the number of operations on
local files. Before that of the number `at` it kills itself. Where the files are elsewhere, the proxy by which
they are reached kills it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from tests.zarr.zarr_cases import WRITES

OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}


count = 0


def kill_at(number: int | None, base: str) -> None:
    """Count the operations that change something below a folder; be killed before one of them."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        global count
        if event != "open" and event not in OPERATIONS:
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if not str(arguments[0]).startswith(base):
            return
        count += 1
        if count - 1 == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def write(plan: dict[str, Any]) -> None:
    """In a process of its own."""
    os.environ.update(plan["environment"])
    kill_at(plan["at"], plan["base"])
    case = next(case for case in WRITES if case.name == plan["case"])
    case.write(plan["base"], plan["given"])


def main() -> None:
    import s3fs  # noqa: F401 - so that forks have it

    for line in sys.stdin:
        child = os.fork()
        if not child:
            print(os.getpid(), flush=True)
            write(json.loads(line))
            os._exit(min(count, 255))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
