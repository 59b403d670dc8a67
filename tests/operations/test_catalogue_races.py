"""Processes that keep the catalogue while records come, go and change: each answer is one of the records."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.synthetic import records
from cpr import io
from cpr.operations.catalogue import listing_columns
from cpr.operations.ls import list_records, list_results
from tests.stored_flow import put

pytest.importorskip("pyarrow")

ROOT = Path(__file__).parents[2]
_LEAST_NEW = 64  # records that are worth a file
_AT_ONCE = 12
_YOUNG_SECONDS = 0.5  # a record of that age is not replaced: the clock of a file system may tick that slowly


class Change(NamedTuple):
    """Of one record: when it began and was done, and what the record names from then on; None: it is gone."""

    before: float
    after: float
    name: str
    target: str | None


class Records:
    """Records under a URL, and all that ever happened to them."""

    def __init__(self, url: str, count: int, dice: random.Random) -> None:
        self.url = url
        self.there: dict[str, float] = {}
        self.changes: list[Change] = []
        self._dice = dice
        self._new = records(100_000, f"{url}/data")
        for _ in range(count):
            self._write(*next(self._new))

    def change(self) -> None:
        """One that is new, gone, or names another target."""
        kind = self._dice.random()
        if kind < 0.4:
            self._write(*next(self._new))
            return
        name = self._dice.choice(sorted(self.there))
        if kind < 0.8:
            before = time.monotonic()
            io.remove(f"{self.url}/{name}")
            del self.there[name]
            self.changes.append(Change(before, time.monotonic(), name, None))
        elif time.monotonic() - self.there[name] > _YOUNG_SECONDS:
            self._write(name, next(self._new)[1])

    def _write(self, name: str, content: bytes) -> None:
        before = time.monotonic()
        put(f"{self.url}/{name}", content)
        self.there[name] = time.monotonic()
        fields = json.loads(json.loads(content)["result"])["__cpr__"]
        target = f"{fields['location']}/{fields['name']}-{fields['key']}{fields['ext']}"
        self.changes.append(Change(before, self.there[name], name, target))

    def at(self, moment: float) -> dict[str, str]:
        """What was there when the changes until then were done."""
        found: dict[str, str] = {}
        for one in self.changes:
            if one.after <= moment:
                found.pop(one.name, None)
                if one.target is not None:
                    found[one.name] = one.target
        return found

    def require_true(self, answer: dict[str, Any]) -> bool:
        """That an answer is what was there at some moment while it was looked for; whether there was but one.

        Who lists sees many changes that are made meanwhile in any order: then each record is asked about.
        """
        start, end = answer["start"], answer["end"]
        meanwhile = [one for one in self.changes if one.after > start and one.before < end]
        before = self.at(start)
        possible = defaultdict(set, {name: {target} for name, target in before.items()})
        for one in meanwhile:
            possible[one.name] |= {before.get(one.name), one.target}
        if (count := answer.get("count")) is not None:
            least = sum(None not in of for of in possible.values())
            assert least <= count <= len(possible), (least, count, len(possible))
            return len(meanwhile) <= 1
        told = answer["told"]
        assert set(told) <= set(possible), "what was not there"
        wrong = {name: of for name, of in possible.items() if told.get(name) not in of}
        assert not wrong, (answer["what"], [(name, told.get(name), of) for name, of in wrong.items()][:3])
        return len(meanwhile) <= 1


@contextmanager
def _racing(words: list[str], processes: int, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that run commands; what each tells goes into a file of the folder."""
    with ExitStack() as files:
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.operations.racing_commands", *words, f"--seed={number}"],
                cwd=ROOT,
                env=os.environ.copy(),
                stdout=files.enter_context((folder / f"{number}.out").open("wb")),
                stderr=files.enter_context((folder / f"{number}.err").open("wb")),
            )
            for number in range(processes)
        ]
        try:
            yield running
        finally:
            for process in running:
                process.kill()
                process.wait()


def _told(folder: Path, running: list[subprocess.Popen[bytes]]) -> list[int]:
    """How many answers each has told."""
    return [(folder / f"{number}.out").read_bytes().count(b"\n") for number in range(len(running))]


def _require_true(
    there: Records, dice: random.Random, words: list[str], processes: int, turns: int, folder: Path
) -> Counter[str]:
    """That all that processes tell is true while records change; what they were asked, and what changed."""
    done = Counter[str]()
    with _racing([there.url, f"--turns={turns}", *words], processes, folder) as running:
        is_quiet = False
        while any(process.poll() is None for process in running):
            # At times one change is all that happens until each has begun and ended another command.
            is_quiet, before = not is_quiet, _told(folder, running)
            while any(
                process.poll() is None and now < then + 2
                for process, now, then in zip(running, _told(folder, running), before, strict=True)
            ):
                if not is_quiet:
                    for _ in range(dice.choice([1, 1, _AT_ONCE])):
                        there.change()
                        done["changes"] += 1
                time.sleep(dice.uniform(0.05, 0.5))
            there.change()
        for number, process in enumerate(running):
            said = (folder / f"{number}.err").read_text()
            assert process.returncode == 0 and not said, said[-3000:]
            answers = [json.loads(line) for line in (folder / f"{number}.out").read_text().splitlines()]
            assert len(answers) == turns
            for answer in answers:
                done["exact"] += there.require_true(answer)
                done[answer["what"]] += 1
    return done


def _require_kept(url: str) -> None:
    """That what any of them had read is read no more."""
    expected = list_records(url, None, lambda **_: None)
    read: list[int] = []
    assert list_results(url, on_progress=lambda total: read.append(total)) == expected
    # Fewer than are worth a file; in the last moment files may have been taken in by those that were too old.
    assert len(read) < 2 * _LEAST_NEW < expected.records, len(read)
    read.clear()
    assert list_results(url, on_progress=lambda total: read.append(total)) == expected
    assert len(read) < _LEAST_NEW, len(read)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=pytest.mark.s3)])
@pytest.mark.parametrize(
    ("count", "processes", "turns"),
    [(300, 4, 6), pytest.param(1000, 16, 12, marks=pytest.mark.long)],
    ids=["4 processes", "16 processes"],
)
def test_what_processes_tell_that_race_is_what_was_there(
    request, tmp_path, monkeypatch, where, count, processes, turns
):
    url = str(tmp_path / "results") if where == "local" else request.getfixturevalue("s3_url") + "/results"
    words = []
    if processes < 16:  # fewer turns than it takes files to settle
        words = ["--settled=-3600"]
        monkeypatch.setattr(listing_columns, "_SETTLED_SECONDS", -3600.0)
    dice = random.Random(processes)
    there = Records(url, count, dice)
    done = _require_true(there, dice, words, processes, turns, tmp_path)
    assert done["exact"] >= processes, done
    if not words:
        time.sleep(4)  # until what was written last is settled
    _require_kept(url)
