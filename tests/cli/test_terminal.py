"""In terminals of any width names and sizes are whole; progress is shown, and nothing of it stays."""

from __future__ import annotations

import os
import pty
import random
import re
import sys
import threading
from contextlib import suppress

import pytest
from rich.console import Console

from cpr import io
from cpr.cli import output
from cpr.cli.app import run
from cpr.io.humanize import human_size
from tests.stored_flow import get, put, store

WIDTHS = [60, 80, 100]
FORTY_DAYS = 40 * 86400


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of a run long ago: one is damaged, one is in no record."""
    results = store(str(tmp_path_factory.mktemp("terminal") / "run"))
    io.remove(results.records["small"])
    io.remove(results.flow)
    image = results.targets["image"].url
    put(image, get(image)[:-1] + b"\0")
    for folder, _, names in os.walk(results.url):
        for name in names:
            path = os.path.join(folder, name)
            os.utime(path, (os.stat(path).st_mtime - FORTY_DAYS,) * 2)
    return results


@pytest.fixture
def terminal(monkeypatch):
    """terminal(width, ...): exit code, and what a terminal gets of a command, with its control sequences."""

    def call(width: int, *arguments: str, kind: str = "xterm") -> tuple[int, str]:
        ours, theirs = pty.openpty()
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", kind)
        pieces: list[bytes] = []

        def read() -> None:
            with suppress(OSError):  # Linux's way to say that the other end is closed
                while piece := os.read(ours, 65536):
                    pieces.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        with os.fdopen(theirs, "w", encoding="utf-8") as screen, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", screen)
            patch.setattr(sys, "stderr", screen)
            code = run(list(arguments))
        reader.join()
        os.close(ours)
        return code, b"".join(pieces).decode().replace("\r\n", "\n")

    return call


def _lines(text: str) -> list[str]:
    """What stays on the screen: bars are erased, colours are none."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.rpartition("\x1b[2K")[2]).splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_names_and_sizes_are_whole(width, terminal, results):
    url, targets = results.url, results.targets
    recorded = [one for kind, one in targets.items() if kind != "small"]
    names = [one.url.removeprefix(f"{url}/") for one in recorded]
    sizes = [human_size(one.nbytes) for one in recorded]
    size = human_size(sum(one.nbytes for one in recorded))
    image, small = targets["image"].url, targets["small"].url
    expected = {
        ("ls", url): [*names, *sizes, "make_chunks", "no record", "ImageTarget"],
        ("ls", url, "--runs"): ["analyse", "ab" * 16, "make_image, make_large", size],
        ("show", url, "image"): [image, targets["image"].checksum, human_size(targets["image"].nbytes)],
        ("lineage", url): [one.url for one in recorded],
        ("verify", url): ["damaged", image],
        ("gc", url): ["would be marked", small, human_size(targets["small"].nbytes)],
        ("forget", url, "--task", "make_image"): ["make_image", image],
    }
    for command, words in expected.items():
        code, text = terminal(width, *command)
        assert code == (1 if command[0] == "verify" else 0), text
        lines = _lines(text)
        for word in words:
            assert any(word in line for line in lines), (command, word, text)
    _, text = terminal(width, "gc", url)
    assert "4 records in use; 5 targets here, 4 in use." in _lines(text)


@pytest.mark.parametrize("seed", range(20))
def test_tables_have_all_their_texts_at_any_width(seed, monkeypatch, capsys):
    dice = random.Random(seed)
    width = dice.choice([20, 60, 80, 100, 1_000_000])
    monkeypatch.setattr(
        output, "console", lambda: Console(width=width, highlight=False, soft_wrap=True, color_system=None)
    )
    columns = [f"head{index}" for index in range(dice.randrange(1, 8))]
    letters = "abcü語 "
    rows = [
        ["".join(dice.choices(letters, k=dice.choice([0, 1, 9, 40]))).strip() for _ in columns]
        for _ in range(dice.randrange(5))
    ]
    output.print_table(columns, rows, right=columns[::2])
    heading, _, body = capsys.readouterr().out.partition("─")
    shown = [index for index, head in enumerate(columns) if any(row[index] for row in rows)]
    assert re.findall(r"head\d", heading) == [columns[index] for index in shown]
    body = body.lstrip("─")
    place = 0
    for row in rows:
        for index in shown:
            # Each is whole, and they come in their order.
            place = body.index(row[index], place) + len(row[index])
    from rich.cells import cell_len

    for line in (*heading.splitlines(), *body.splitlines()):
        # Only a text that is alone in its line may be longer than the screen is wide.
        assert cell_len(line) <= width or any(line.strip() == text for row in rows for text in row)


@pytest.mark.parametrize("width", WIDTHS)
def test_progress_is_one_line_and_is_erased(width, terminal, results):
    for command, action in (("ls", "reading records"), ("verify", "verifying"), ("gc", "reading records")):
        _, text = terminal(width, command, results.url)
        drawn, _, kept = text.rpartition("\x1b[2K")
        assert action in drawn
        assert action not in kept
        for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)):
            assert len(line) <= width


@pytest.mark.parametrize(
    ("command", "action", "total"),
    [
        # Five objects: four records, and one that is none.
        (("ls", "URL"), "reading records", 4),
        (("show", "URL", "image"), "reading records", 4),
        (("lineage", "URL"), "reading records", 4),
        (("report", "URL", "-o", "OUT/report.html"), "looking at results", 4),
        (("verify", "URL"), "verifying", 4),
        (("gc", "URL"), "reading records", 4),
        (("cp", "URL", "OUT/copy"), "copying", 8),
        (("migrate", "URL"), "verifying", r"[1-9]\d*"),
    ],
)
def test_progress_has_a_total_where_there_is_one(command, action, total, terminal, results, tmp_path):
    words = [word.replace("URL", results.url).replace("OUT", str(tmp_path)) for word in command]
    _, text = terminal(100, *words)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(rf"{action}.*\b({total})/\1\b", drawn), drawn


def test_a_dumb_terminal_gets_no_bars(terminal, results):
    _, text = terminal(80, "ls", results.url, kind="dumb")
    assert "reading records" not in text
    assert "\x1b" not in text
