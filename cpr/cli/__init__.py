"""The `cpr` command: lists results, checks them and cleans up, from their URL alone.

Each command is a module, and only words: what it does stands in a module below, which returns typed results
and knows neither typer nor rich. Exit codes, the same for all commands:

    0   done, and all is well
    1   done, and something is wrong: damage, a check that failed, results that could not be copied
    2   the command line is wrong
    3   not done: the store could not be asked, or there is nothing at the URL
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress

__all__ = ["main"]

_NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main() -> None:
    """Run the command line and end the process with one of the exit codes above."""
    import logging

    _open_streams()
    try:
        from cpr.cli.app import run
    except KeyboardInterrupt:
        print("Interrupted.")
        sys.exit(130)
    from cpr.io.timeouts import end_soon

    def interrupt(*_: object) -> None:
        # Whatever is asked from here on, to clean up or in other threads, shall not keep the process.
        end_soon()
        # It may be raised in a finalizer, which cannot pass it on: `progress` raises it again.
        sys.unraisablehook = lambda _: None
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    # Connections of filesystems that zarr has made end with the process, of which aiohttp complains.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        # A terminal may not know all characters of a name.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # `cpr ls | head`: who reads has seen enough. Python would complain when it flushes at its end.
        _close_output()
        code = 0
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        _close_output()
        with suppress(OSError):
            print(
                f"the output cannot be written: {os.strerror(error.errno or 0)}", file=sys.stderr, flush=True
            )
        code = 3
    sys.exit(code)


def _open_streams() -> None:
    """Open what the caller has closed (`cpr ls 2>&-`), so that no other file gets the number of a stream.

    What a library written in C says of an error would stand in that file.
    """
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _close_output() -> None:
    """Let nobody write any more: Python would complain when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
