"""A record that cannot be read, and one under a name that no URL can say, are told of by every command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpr
from cpr.cli.app import run
from cpr.operations.report import gather, render
from cpr.provenance.provenance_record import Made
from tests.stored_flow import prefect_record

RUNS = ("a" * 32, "b" * 32)
UNREADABLE = {
    "cut": b'{"__cpr__": {"type": "NumpyTarget", "loc',
    "of no place": b'{"__cpr__": {"type": "NumpyTarget", "location": 3, "name": "x", "ext": ".npy"}}',
    "elsewhere": b'{"__cpr__": {"type": "NumpyTarget", "location": "/x/../y", "name": "x", "ext": ".npy"}}',
    "no text": b'{"__cpr__": {"type": "NumpyTarget", "location": "/x\xff"}}',
}
# Those that go through all records, with what they need; PLACE is where the records are.
COMMANDS: dict[str, list[str]] = {
    "ls": ["ls", "PLACE"],
    "lineage": ["lineage", "PLACE"],
    "verify": ["verify", "PLACE"],
    "report": ["report", "PLACE", "-o", "OUT/report.html"],
    "diff": ["diff", "PLACE", RUNS[0][:8], RUNS[1][:8]],
    "export": ["export", "PLACE", "--ro-crate", RUNS[0][:8], "-o", "OUT/crate"],
    "forget": ["forget", "PLACE", "--task", "fill"],
    "cp": ["cp", "PLACE", "OUT/copy"],
}


def two_runs(place: str) -> dict[str, bytes]:
    """Two runs of a task below a place; the records' contents by name."""
    records = {}
    for number, flow_run in enumerate(RUNS):
        target = cpr.NumpyTarget.from_path(f"{place}/data/filled-{number}.npy")
        target.set_data(np.full(9, number))
        target.set_made(Made("fill", "flow", flow_run, f"{number}" * 32, 1_795_500_000 + number))
        name = f"good-{number}"
        record = prefect_record({"result": target.serialize()}, storage_key=f"{place}/records/{name}")
        records[name] = record.encode()
    return records


def said_by(command: str, place: str, out: Path, capsys: Any) -> tuple[int, str]:
    words = [word.replace("PLACE", place).replace("OUT", str(out)) for word in COMMANDS[command]]
    code = run(words)
    said = capsys.readouterr()
    return code, re.sub(r"\s+", " ", said.out + said.err)


@pytest.fixture
def local(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    records = tmp_path / "run" / "records"
    records.mkdir(parents=True)
    for name, content in two_runs(f"{tmp_path}/run").items():
        (records / name).write_bytes(content)
    return records


@pytest.mark.parametrize("command", COMMANDS)
def test_all_records_are_read_where_all_are_good(local, command, tmp_path, capsys):
    code, said = said_by(command, str(local), tmp_path / "out", capsys)
    assert code == (1 if command == "diff" else 0), said
    assert "unreadable" not in said and "cannot be read" not in said


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_of_what_it_cannot_read(local, command, kind, tmp_path, capsys):
    (local / "odd").write_bytes(UNREADABLE[kind])
    code, said = said_by(command, str(local), tmp_path / "out", capsys)
    assert code == 1, said
    assert f"{local}/odd" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"diff", "export"}))  # which name runs
def test_where_nothing_can_be_read_that_is_what_is_told(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    records = tmp_path / "records"
    records.mkdir()
    for name, content in UNREADABLE.items():
        (records / name).write_bytes(content)
    code, said = said_by(command, str(records), tmp_path / "out", capsys)
    assert code == 1, said
    for name in UNREADABLE:
        assert f"{records}/{name}" in said


def test_a_result_that_is_not_found_may_be_in_an_unreadable_record(local, capsys):
    (local / "odd").write_bytes(UNREADABLE["cut"])
    for command in ("show", "why"):
        assert run([command, str(local), "nothing"]) == 3
        said = capsys.readouterr()
        assert "and 1 record that cannot be read" in re.sub(r"\s+", " ", said.out + said.err)


def test_the_page_begins_with_what_is_missing(local):
    for number in range(25):
        (local / f"odd-{number}").write_bytes(b'{"__cpr__": {"type": "<script>alert(1)</script>"}}')
    results, unreadable = gather(str(local))
    page = render(results, "Results", unreadable)
    assert "25 records cannot be read" in page
    assert "and 5 more" in page
    assert "<script>alert" not in page


# Names of objects that are as good as any other, which a URL says otherwise.
KEYS = ("a?token=x", "a#b", "a%2Fb", "key=secret", "a b", "a+b", "ä")


@pytest.mark.parametrize("command", [*COMMANDS, "gc"])
def test_records_under_odd_keys_on_s3(s3_server, s3_url, command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    place = f"{s3_url}/my results"
    records = two_runs(place)
    content = records["good-0"]
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    for name, text in {**records, **dict.fromkeys(KEYS, content)}.items():
        s3_server.client().put_object(Bucket=bucket, Key=f"{prefix}/records/{name}", Body=text)
    if command == "gc":
        code = run(["gc", f"{place}/records", f"{place}/data"])
        said = capsys.readouterr()
        assert code in (2, 3), said.out + said.err
        assert "Remedy" in said.out + said.err or "remedy" in said.out + said.err
    else:
        code, text = said_by(command, f"{place}/records", tmp_path / "out", capsys)
        assert code == 1, text
        assert "Traceback" not in text
        assert "token=x" in text  # told of, in a line
    # Whatever a command made of the odd ones, nothing was deleted.
    left = s3_server.client().list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
    assert {one["Key"].rpartition("/")[2] for one in left} >= {*records, *KEYS}
