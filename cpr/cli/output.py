"""Output of commands: tables and sentences for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpr.errors import CprError
from cpr.io.humanize import human_size
from cpr.io.progress_bar import alone
from cpr.io.timeouts import is_ending
from cpr.operations.compact_list import CompactList

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Json",
    "ResultsUrl",
    "as_json",
    "console",
    "ended",
    "interruptible",
    "is_name",
    "print_error",
    "print_json",
    "print_table",
    "printable",
    "progress",
    "results_url",
    "say",
    "size",
    "time_of",
    "told_if_interrupted",
]

ResultsUrl = Annotated[
    str | None,
    typer.Argument(
        metavar="URL", help="Where records are; else where Prefect is configured to keep results."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


def console(stderr: bool = False) -> Console:
    """Rich's console; lines are wrapped only in a terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr, width=None if stream.isatty() else 1_000_000, highlight=False, soft_wrap=True
    )


# What moves the cursor, colours, rings, makes a name show as another one (bidirectional marks), or has no
# shape: Default_Ignorable_Code_Point in https://www.unicode.org/Public/16.0.0/ucd/DerivedCoreProperties.txt
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def printable(text: object) -> str:
    r"""Remove control characters from an untrusted text, for a terminal.

    >>> printable("\x1b[31mred\n")
    '\\x1b[31mred\\n'
    """
    return _UNPRINTABLE.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), str(text)
    )


def results_url(url: str | None) -> str:
    """The given URL, or Prefect's result storage. Raises ConfigurationError if that cannot be found."""
    if url is not None:
        return url
    from cpr.prefect.result_storage import configured_results_url

    return configured_results_url()


def is_name(text: str) -> bool:
    """Whether a text is the name of a result, not a URL or an existing path."""
    return re.search(r"[/\\:]", text) is None and not os.path.lexists(text)


def say(*lines: object) -> None:
    """Print lines of text."""
    for line in lines:
        print(printable(line))


def print_json(value: Any) -> None:
    """Print one JSON object piece by piece, so that its text is never in memory as a whole."""
    for piece in json.JSONEncoder(indent=2, allow_nan=False).iterencode(as_json(value)):
        sys.stdout.write(piece.replace("\x7f", "\\u007f"))
    print()


class _AsJson(list[Any]):
    """Items that are converted to JSON one by one while they are printed."""

    def __init__(self, items: Collection[Any]) -> None:
        super().__init__()
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return map(as_json, self._items)


def as_json(value: Any) -> Any:
    """Convert typed results to JSON values: dataclasses by field, errors by message, times in ISO format."""
    if isinstance(value, CprError):
        return {
            "error": type(value).__name__,
            "problem": value.problem,
            **{
                name: as_json(getattr(value, name))
                for name in ("url", "field", "expected", "actual", "remedy", "topic")
                if getattr(value, name) is not None
            },
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(as_json(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, CompactList):
        return _AsJson(value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    # JSON has no word for infinity.
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> None:
    """Print a table without empty columns; no text is truncated or wrapped.

    Where a terminal is too narrow for all columns, those that have no room go on below, in lines that begin
    with two spaces. So a URL can be copied at any width.

    Args:
        columns: their heads.
        rows: of texts.
        right: heads of columns that are aligned to the right: numbers.
    """
    from rich.cells import cell_len
    from rich.text import Text

    lines = CompactList(tuple(map(printable, row)) for row in rows)
    heads = tuple(map(printable, columns))
    found = dict.fromkeys(range(len(columns)), -1)
    for line in lines:
        for index, text in enumerate(line):
            if text:
                found[index] = max(found[index], cell_len(text))
    widths = {index: max(width, cell_len(heads[index])) for index, width in found.items() if width >= 0}
    numbers = {index for index in widths if columns[index] in set(right)}
    screen = console()
    groups = _in_lines(widths, screen.width)

    def cell(text: str, index: int) -> str:
        filling = " " * (min(widths[index], screen.width - 2) - cell_len(text))
        return filling + text if index in numbers else text + filling

    def lines_of(row: Sequence[str]) -> Iterator[str]:
        for number, group in enumerate(groups):
            line = "  ".join(cell(row[index], index) for index in group).rstrip()
            if line or not number:
                yield f"  {line}" if number else line

    heading = list(lines_of(heads))
    screen.print(*(Text(line, style="bold") for line in heading), sep="\n")
    widest = max(sum(widths[index] + 2 for index in group) for group in groups) - 2
    screen.print(("─" if screen.encoding.startswith("utf") else "-") * min(widest, screen.width))
    for row in lines:
        print(*lines_of(row), sep="\n")
    print()


def _in_lines(widths: Mapping[int, int], room: int) -> list[list[int]]:
    """Distribute columns over lines in order, as many as fit in a line, at least one.

    >>> _in_lines({0: 19, 1: 7, 2: 60}, 80), _in_lines({0: 19, 1: 7, 2: 60}, 100)
    ([[0, 1], [2]], [[0, 1, 2]])
    """
    lines: list[list[int]] = [[]]
    taken = 0
    for index, width in widths.items():
        if lines[-1] and taken + 2 + width > room:
            lines.append([])
            taken = 2
        taken += width + 2 * bool(lines[-1])
        lines[-1].append(index)
    return lines


def say_unreadable(problems: Iterable[CprError]) -> None:
    """Report records that could not be read, whose results are therefore missing."""
    say(*(f"unreadable: {problem}" for problem in problems))


def print_error(error: CprError) -> None:
    """Print an error and its remedy on stderr."""
    lines = [f"cpr: {': '.join(filter(None, (error.url, error.field)))}: {error.problem}"]
    told = {"expected": error.expected, "found": error.actual, "remedy": error.remedy}
    lines += [f"  {word:8}  {text}" for word, text in told.items() if text is not None]
    lines.append(f"  see       {error.page}")
    for line in lines:
        print(printable(line), file=sys.stderr)


def ended(wrong: bool, nothing: bool = False) -> None:
    """End the command: with exit code 1 if something is wrong, 3 if there is nothing at the URL."""
    raise typer.Exit(1 if wrong else 3 if nothing else 0)


@contextlib.contextmanager
def told_if_interrupted(tell: Callable[[], None]) -> Iterator[None]:
    """On Ctrl-C, report what was done so far, and end with exit code 130."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        say("", f"Interrupted{_while(interrupt)}. What was done by then:")
        tell()
        raise typer.Exit(130) from None


def interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a read-only command to report its progress on Ctrl-C, with exit code 130.

    Commands that change something say themselves what was done (`told_if_interrupted`).
    """

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            say("", f"Interrupted{_while(interrupt)}. Results and records are as they were.")
            raise typer.Exit(130) from None

    return call


def _while(interrupt: KeyboardInterrupt) -> str:
    return f" while {interrupt.args[0]}" if interrupt.args else ""


@contextlib.contextmanager
def progress(action: str) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, if that is a terminal.

    Gives `advance(count=1, nbytes=0, total=None, stage=None)`: another stage counts anew. KeyboardInterrupt
    has how far it was, for `told_if_interrupted` and `interruptible`.
    """
    done, moved = 0, 0
    known: int | None = None
    with _bar(action) as draw:

        def advance(
            count: int = 1, nbytes: int = 0, total: int | None = None, stage: str | None = None
        ) -> None:
            nonlocal action, done, moved, known
            if is_ending():
                raise KeyboardInterrupt
            if stage is not None and stage != action:
                action, done, known = stage, 0, None
            done, moved, known = done + count, moved + nbytes, total or known
            draw(action, done, known, moved)

        try:
            yield advance
            if is_ending():
                raise KeyboardInterrupt
        except (KeyboardInterrupt, CprError) as error:
            # What fails because the process is to end is no failure.
            if isinstance(error, CprError) and not is_ending():
                raise
            of = f" of {known:,}" if known else ""
            raise KeyboardInterrupt(f"{action}, after {done:,}{of}") from None


@contextlib.contextmanager
def _bar(action: str) -> Iterator[Callable[[str, int, int | None, int], None]]:
    # On a dumb terminal (a notebook's, Emacs') each change of the bar would be a line more.
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda *_: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar, alone():
        task = bar.add_task(action, total=None, amount="")

        def draw(action: str, done: int, total: int | None, moved: int) -> None:
            if total is None:
                bar.tasks[0].total = None
            amount = size(moved) if moved else ""
            bar.update(task, description=action, completed=done, total=total, amount=amount)

        yield draw


def size(nbytes: int | None) -> str:
    """A size in bytes for people; empty where it is not known."""
    return "" if nbytes is None else human_size(nbytes)


def time_of(when: datetime) -> str:
    """Format a time for people, in their time zone."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
