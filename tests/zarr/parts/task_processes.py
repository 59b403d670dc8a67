"""Processes that run a task, one after the other, which tests kill: forked, so that none imports anything."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

__all__ = ["SERVE", "TaskProcesses"]

SERVE = """
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            run(*json.loads(line))
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
"""The end of a script that defines `run`: a child runs it for each line, whose id and exit code are told."""


class TaskProcesses:
    """Children of a process of its own.

    Args:
        script: that imports what is needed and defines `run`.
        errors: a file for what the children print of errors.
    """

    def __init__(self, script: str, errors: Any) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", script + SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def begin(self, *values: object) -> int:
        """Begin `run` with texts; returns the id of its process."""
        print(json.dumps([str(value) for value in values]), file=self._server.stdin, flush=True)
        return int(self._line())

    def end(self) -> int:
        """Wait for it; its exit code, below 0 that of a signal."""
        return int(self._line())

    def _line(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    def close(self) -> None:
        """End the process that forks."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._server.stdout.close()
