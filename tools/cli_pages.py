"""docs/cli.md, made from what the commands say of themselves.

python -m tools.cli_pages            write it
python -m tools.cli_pages --check    whether it is as it would be written
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from cpr.cli.app import app, examples

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"

INTRODUCTION = """\
# The command `cpr`

`cpr` looks at results, checks them and cleans up, from their URL alone: no server is asked, nothing has to
be running, and the flow may have run elsewhere. (Only `cpr savings` asks Prefect's server, for the runs.)

A *results URL* is where Prefect's result storage writes (the `basepath` of its block), a folder or prefix
that contains targets, or one that contains both. Endpoints and credentials come from the same places as for
flows, see the [README](../README.md#where-endpoints-and-credentials-come-from).

Where there are more than a few hundred records, and the extra `parquet` is installed, a command that may
write there keeps what the records say as a table in `.cpr/catalogue` under the results URL, so that the next
command reads only new records ([how](decisions/catalogue.md)). In Python, `cpr.results("s3://my-bucket/records")`
gives this table.

Every command takes `--json` and then prints one JSON document on stdout, errors included. Progress is shown
on stderr, if that is a terminal. `cpr --install-completion` installs completion of commands and options for
bash, zsh and fish. `python -m cpr` is the same as `cpr`. This page is made from the commands' own help
(`python -m tools.cli_pages`).

| exit code | meaning |
| ---: | --- |
| 0 | done, and all is well |
| 1 | done, and not all is well: damage, unreadable records, failed checks, results not copied, runs differ |
| 2 | the command line is wrong |
| 3 | not done: the store could not be asked, or there is nothing at the URL |
| 130 | interrupted |
"""


def commands() -> dict[str, Any]:
    """The commands by name, in the order of the help."""
    top: Any = get_command(app)
    return dict(top.commands)


def page() -> str:
    """The text of the page."""
    parts = [INTRODUCTION]
    for name, command in commands().items():
        parts.append(section(name, command))
    return "\n".join(parts)


def section(name: str, command: Any) -> str:
    """One command: synopsis, description, arguments and options, examples."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    synopsis = " ".join([f"cpr {name}", "[OPTIONS]", *(_metavar(one) for one in arguments)])
    lines = [f"## cpr {name}\n", f"    {synopsis}\n", _paragraphs(command.help), ""]
    lines += ["| | |", "| --- | --- |"]
    lines += [f"| `{_metavar(one)}` | {one.help} |" for one in arguments]
    lines += [f"| {_spelled(one)} | {one.help}{_default(one)} |" for one in options]
    lines += ["", "| example | |", "| --- | --- |"]
    lines += [f"| `{line}` | {what} |" for line, what in examples(name)]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> str:
    return "\n\n".join(re.sub(r"\s+", " ", part.strip()) for part in text.split("\n\n"))


def _metavar(one: Any) -> str:
    name = one.metavar or one.name.upper()
    return name if one.required else f"[{name}]"


def _spelled(one: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*one.opts, *one.secondary_opts])
    value = "" if one.is_flag else f" `{one.metavar or 'VALUE'}`"
    return names + value


def _default(one: Any) -> str:
    if one.is_flag or one.default in {None, ""}:
        return ""
    return f" Default: {one.default}."


def options_of(line: str) -> tuple[str, list[str]]:
    """The command in a command line, and the options in it."""
    words = shlex.split(line)
    return words[1], [word for word in words[2:] if word.startswith("--")]


def main() -> int:
    """Write the page, or compare it."""
    if "--check" in sys.argv:
        return 0 if PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
