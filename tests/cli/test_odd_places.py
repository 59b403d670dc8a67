"""Whatever somebody gives as a place: an error with its remedy, an exit code, and no traceback."""

from __future__ import annotations

import pytest

from cpr.cli.app import run

PLACES = [
    "",
    " ",
    "nowhere://bucket",
    "s3://",
    "s3:///bucket",
    "gs://",
    "file://",
    "file:///dev/null/x",
    "a\0b",
    "s3://bucket/\ud800",
    "/dev/null",
    "~nobody-of-this-name/x",
    "http://[::1",
    "http://host:port/x",
    "sftp://",
    "hdfs://host:99999/x",
    "://",
    "memory://",
    "C:\\results",
    "a" * 5000,
    "/" + "b/" * 3000,
    "\U0001f98a",
    "[x",
    "%00",
    "-",
    "\n",
    "s3://user:secret@bucket/x",
    "s3://a b/c",
    "s3://b\u00fccket/c",
    "s3://*/c",
    "s3://[bucket]/c",
    f"s3://{'b' * 256}/c",
    "gs://a b/c",
    "r2://a b/c",
    "az://a b/c",
]
COMMANDS = [["ls", "PLACE"], ["show", "PLACE", "x"], ["lineage", "PLACE"]]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ascii(place)[:24])
def test_no_place_is_answered_with_a_traceback(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        words = [place if word == "PLACE" else word for word in command]
        code = run(words)  # what it raises would be a traceback
        said = capsys.readouterr()
        assert code in (0, 1, 2, 3), words
        assert "Traceback" not in said.err
        assert "secret@" not in said.out + said.err
        if code:
            assert said.out.strip() or said.err.strip(), words
