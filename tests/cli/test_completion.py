"""Shells complete the names of commands and options, and the URL may be left out."""

from __future__ import annotations

import json

import pytest
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

from cpr.cli.app import run
from tests.stored_flow import store


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_how(shell, monkeypatch, capsys):
    monkeypatch.setenv("_CPR_COMPLETE", f"source_{shell}")
    assert run([]) == 0
    assert "_CPR_COMPLETE=complete_" + shell in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "expected"), [("cpr fo", "forget"), ("cpr forget --ta", "--task"), ("cpr ls --ru", "--runs")]
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_names_are_completed(shell, typed, expected, monkeypatch, capsys):
    monkeypatch.setenv("_CPR_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", typed)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert run([]) == 0
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize("command", ["show", "why"])
def test_without_a_url_results_are_where_prefect_keeps_them(command, tmp_path, monkeypatch, capsys):
    results = store(f"{tmp_path}/run", ("small", "image"))
    monkeypatch.chdir(tmp_path)
    image = results.targets["image"].url
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: results.url}):
        for name in ("image-", image):
            assert run([command, name, "--json"]) == 0
            (found,) = json.loads(capsys.readouterr().out)
            assert found["url"] == image
        assert run([command, "nobody"]) == 3
        assert "no record here names such a result" in capsys.readouterr().err
