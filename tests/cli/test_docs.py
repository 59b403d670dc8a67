"""The commands' help, docs/cli.md and README agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cpr.cli.app import examples, run
from tools.cli_pages import PAGE, commands, options_of, page

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMANDS = commands()


def known_options(name: str) -> set[str]:
    return {option for one in COMMANDS[name].params for option in (*one.opts, *one.secondary_opts)}


def test_the_page_is_made_from_the_help():
    assert PAGE.read_text() == page(), "python -m tools.cli_pages writes it anew"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_everything(name, capsys):
    assert run([name, "--help"]) == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for one in COMMANDS[name].params:
        assert one.help, f"{name} {one.name} says nothing"
        assert one.opts[0] in text or (one.metavar or "") in text
    assert "--json" in text
    assert len(COMMANDS[name].help.split("\n\n")) >= 2


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_of_options_that_there_are(name):
    assert examples(name)
    for line, _ in examples(name):
        command, options = options_of(line)
        assert command == name
        assert set(options) <= known_options(name)


def test_the_readme_names_every_command_and_no_other():
    lines = re.findall(r"^cpr \S+.*$", README, flags=re.MULTILINE)
    found = [options_of(line.partition("#")[0]) for line in lines]
    # The list that says what each one does has each of them once; Start uses some.
    assert sorted(options_of(line.partition("#")[0])[0] for line in lines if "#" in line) == sorted(COMMANDS)
    for name, options in found:
        assert set(options) <= known_options(name)


def test_the_top_says_all_commands(capsys):
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in text
