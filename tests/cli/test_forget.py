"""`cpr forget`: what is said, and exit codes."""

from __future__ import annotations

import json

import pytest

from cpr.cli.app import run
from tests.stored_flow import store


def test_first_it_is_only_said(tmp_path, capsys):
    results = store(f"{tmp_path}/run")
    assert run(["forget", results.url, "--task", "make_image"]) == 0
    text = capsys.readouterr().out
    assert results.targets["image"].url in text
    assert "1 record of 1 result would be forgotten." in text
    assert "The next run computes again: make_image (1 time)" in text
    assert "1 other record" in text
    assert "With --delete it is done." in text
    assert run(["forget", results.url, "--task", "make_image", "--delete", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert [one["record"] for one in done["entries"]] == [results.records["image"]]
    assert not done["dry"]
    assert run(["forget", results.url, "--task", "make_image"]) == 3
    assert "0 records of 0 results would be forgotten." in capsys.readouterr().out


def test_somebody_has_to_say_which(tmp_path, capsys):
    assert run(["forget", str(tmp_path)]) == 2
    assert "--older-than" in capsys.readouterr().err
    assert run(["forget", str(tmp_path), "--older-than", "soon"]) == 2


@pytest.mark.parametrize(("age", "code"), [("0s", 0), ("3650d", 3)])
def test_by_age(tmp_path, age, code):
    results = store(f"{tmp_path}/run")
    assert run(["forget", results.url, "--older-than", age]) == code
