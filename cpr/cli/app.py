"""The command line app: all commands together, and the exit codes of errors.

A new command is a module in `cpr/operations` that does the work and returns typed results; a module here that
prints them, with a function of the command's name and its `EXAMPLES`; and its name in `COMMANDS`. Help,
docs/cli.md (`python -m tools.cli_pages`) and the tests of both follow from these three.
"""

from __future__ import annotations

import importlib
import sys

import typer

from cpr.cli.output import interruptible, print_error, print_json
from cpr.errors import CprError

__all__ = ["COMMANDS", "app", "examples", "run"]

COMMANDS = (
    "ls",
    "show",
    "why",
    "lineage",
    "diff",
    "savings",
    "report",
    "verify",
    "cp",
    "export",
    "migrate",
    "forget",
    "gc",
    "doctor",
)
"""In the order of the help; each is a module of this package."""

app = typer.Typer(
    name="cpr",
    help="Look at results, check them and clean up, from their URL alone.",
    epilog=(
        "Exit codes: 0 all is well; 1 something is wrong; 2 the command line is wrong; "
        "3 the store could not be asked, or there is nothing at the URL."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def examples(command: str) -> list[tuple[str, str]]:
    """Command lines of a command, and what each is for."""
    return list(importlib.import_module(f"cpr.cli.{command}").EXAMPLES)


def _epilog(command: str) -> str:
    # A line that begins with \b is not wrapped.
    lines = [f"  {line}\n      {purpose}" for line, purpose in examples(command)]
    return "\n".join(["\b\nExamples:", *lines])


for name in COMMANDS:
    command = getattr(importlib.import_module(f"cpr.cli.{name}"), name)
    app.command(epilog=_epilog(name))(interruptible(command))


@app.callback(invoke_without_command=True)
def top(version: bool = typer.Option(False, "--version", help="Print the version and end.")) -> None:
    """Look at results, check them and clean up, from their URL alone."""
    if version:
        from cpr._version import __version__

        print(f"cpr {__version__}")
        raise typer.Exit


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(given, prog_name="cpr")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except CprError as error:
        if "--json" in given:
            print_json(error)
        else:
            print_error(error)
        return 3
    return 0
