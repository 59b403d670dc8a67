"""Progress bars for transfers that take longer than two seconds, in a terminal or a notebook.

Drawn by the thread that moves the bytes, so that a small transfer costs nothing but a look at the clock.
`CPR_PROGRESS=off` turns the bars off. There are none in logs and dumb terminals, none in threads of a pool,
and none in flows and tasks, whose progress Prefect shows itself.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any, Protocol

from cpr.io.humanize import human_size
from cpr.io.variables import PROGRESS

__all__ = ["VARIABLE", "Advance", "alone", "progress_bar", "quiet_when"]

log = logging.getLogger("cpr")

VARIABLE = PROGRESS.name
_AFTER = 2.0  # seconds
_EVERY = 0.2

_quiet: list[Callable[[], bool]] = []
_drawing = threading.Lock()  # one bar at a time: what is read to be written has none beside it


class Advance(Protocol):
    """Reports that some bytes (or objects) are done, and optionally the expected total; thread-safe."""

    def __call__(self, count: int, /, total: int | None = None) -> None: ...


class _Screen(Protocol):
    def show(self, text: str, fraction: float | None) -> None: ...
    def clear(self) -> None: ...


def quiet_when(condition: Callable[[], bool]) -> None:
    """Suppress progress bars while a condition holds, because progress is shown elsewhere."""
    _quiet.append(condition)


@contextmanager
def progress_bar(
    action: str, url: str, total: int | None = None, unit: str = "bytes"
) -> Iterator[Advance | None]:
    """Show the progress of a transfer, once it has taken two seconds.

    Args:
        action: what is done, "writing" or "reading".
        url: of what; the bar has its last step.
        total: approximate upper bound of what there is to do; None if unknown.
        unit: of what is counted.

    Yields the function that reports progress; None if no bar would be visible.

    >>> with progress_bar("reading", "s3://bucket/cells.tif", total=100) as advance:
    ...     print(advance)  # not in a terminal
    None
    """
    screen = _screen()
    if screen is None or not _drawing.acquire(blocking=False):
        yield None
        return
    bar = _Bar(f"{action} {url.rstrip('/').rpartition('/')[2]}", total, unit, screen)
    try:
        yield bar
    finally:
        _drawing.release()
        bar.end()


@contextmanager
def alone() -> Iterator[None]:
    """Suppress progress bars during the block, because the caller uses the screen."""
    with _drawing:
        yield


def _screen() -> type[_Terminal | _Notebook] | None:
    """The kind of output on which a bar is visible."""
    if PROGRESS.get() is False:
        return None
    if threading.current_thread() is not threading.main_thread() or any(ask() for ask in _quiet):
        return None
    # Only a notebook's kernel has this one; who has not imported IPython is in no notebook.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ == "ZMQInteractiveShell":
        return _Notebook
    # On a dumb terminal (Emacs', a console's) each change of the bar would be a line more.
    stderr = sys.stderr
    return _Terminal if stderr is not None and stderr.isatty() and os.environ.get("TERM") != "dumb" else None


class _Bar:
    def __init__(self, title: str, total: int | None, unit: str, screen: type[_Terminal | _Notebook]) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._of = "of"
        self._make = screen
        self._screen: _Screen | None = None
        self._began = self._last = time.monotonic()
        self._done = 0
        self._lock = threading.Lock()
        self._failed = False

    def __call__(self, count: int, /, total: int | None = None) -> None:
        with self._lock:
            self._done += count
            if total is not None:
                self._total, self._of = total, "of at most"
            now = time.monotonic()
            if now - self._began < _AFTER or now - self._last < _EVERY or self._failed:
                return
            self._last = now
            try:
                self._screen = self._screen or self._make()
                self._screen.show(*self._state(now - self._began))
            except Exception as error:
                # A screen that cannot be drawn on is no matter of the transfer.
                self._failed = True
                log.debug("the progress bar is not shown: %s", type(error).__name__)

    def _state(self, seconds: float) -> tuple[str, float | None]:
        if self._unit != "bytes":
            of = f" of {self._total:,}" if self._total else ""
            amount = f"{self._done:,}{of} {self._unit}, {self._done / seconds:,.0f}/s"
        else:
            most = f" {self._of} {human_size(self._total)}" if self._total else ""
            amount = f"{human_size(self._done)}{most}, {human_size(self._done / seconds)}/s"
        fraction = min(1.0, self._done / self._total) if self._total else None
        return f"{self._title}: {amount}, {seconds:.0f} s", fraction

    def end(self) -> None:
        """Remove the bar."""
        with self._lock:
            screen, self._screen, self._failed = self._screen, None, True
        if screen is not None:
            try:
                screen.clear()
            except Exception as error:
                log.debug("the progress bar is not cleared: %s", type(error).__name__)


class _Terminal:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._live.start()

    def show(self, text: str, fraction: float | None) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        bar = ProgressBar(total=1.0, completed=fraction or 0.0, pulse=fraction is None, width=40)
        self._live.update(Group(Text(text, overflow="ellipsis", no_wrap=True), bar), refresh=True)

    def clear(self) -> None:
        self._live.stop()


class _Notebook:
    """A notebook output that is updated in place: it needs no widgets, and a saved notebook keeps none."""

    def __init__(self) -> None:
        self._display: Any = import_module("IPython.display")
        self._handle: Any = None

    def show(self, text: str, fraction: float | None) -> None:
        value = "" if fraction is None else f' value="{fraction:.3f}"'
        shown = self._display.HTML(f"<progress{value} style='width: 20em'></progress> {escape(text)}")
        if self._handle is None:
            self._handle = self._display.display(shown, display_id=True)
        else:
            self._handle.update(shown)

    def clear(self) -> None:
        if self._handle is not None:
            self._handle.update(self._display.HTML(""))
