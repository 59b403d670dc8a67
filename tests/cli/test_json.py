"""With --json every command prints JSON and nothing else, wherever it is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cpr.cli.app import run
from tests.cli.test_unreadable_records import RUNS, UNREADABLE
from tools.cli_pages import commands

# What each command needs; PLACE is where it looks, OUT where it may write.
WORDS: dict[str, list[str]] = {
    "ls": ["PLACE"],
    "show": ["PLACE", "nothing"],
    "why": ["PLACE", "nothing"],
    "lineage": ["PLACE"],
    "report": ["PLACE", "-o", "OUT/report.html"],
    "verify": ["PLACE"],
    "diff": ["PLACE", *RUNS],
    "export": ["PLACE", "--ro-crate", RUNS[0], "-o", "OUT/crate"],
    "savings": ["PLACE"],
    "forget": ["PLACE", "--task", "fill"],
    "cp": ["PLACE", "OUT/copy"],
    "gc": ["PLACE"],
    "migrate": ["PLACE"],
    "doctor": ["PLACE", "--mib", "0"],
}


def test_the_table_has_every_command_that_prints_json():
    options = {name: [x for one in command.params for x in one.opts] for name, command in commands().items()}
    assert {name for name, given in options.items() if "--json" in given} == WORDS.keys()


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize("kind", ["empty", "unreadable", "missing", "of no kind"])
def test_nothing_but_json_is_printed(command, kind, prefect_server, tmp_path, capsys):
    place = tmp_path / "records"
    if kind in {"empty", "unreadable"}:
        place.mkdir()
    if kind == "unreadable":
        for name, content in UNREADABLE.items():
            (place / name).write_bytes(content)
    url = "nowhere://bucket" if kind == "of no kind" else str(place)
    words = [word.replace("PLACE", url).replace("OUT", str(tmp_path)) for word in WORDS[command]]
    code = run([command, *words, "--json"])
    said = capsys.readouterr()
    found: Any = json.loads(said.out)
    assert code in {0, 1, 3}, said
    assert isinstance(found, (dict, list))
    assert "Traceback" not in said.err
    if kind == "of no kind":
        assert (code, found["problem"]) == (3, "no such protocol")
    if command == "report":
        assert not (tmp_path / "report.html").exists()
