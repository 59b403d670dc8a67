"""All commands in one, and what their errors come to."""

from __future__ import annotations

import sys

import typer

from cpr.cli import cp, doctor, gc, lineage, ls, report, show, verify, why
from cpr.cli.output import print_error, print_json
from cpr.errors import CprError

__all__ = ["app", "run"]

app = typer.Typer(
    name="cpr",
    help="Look at results, check them and clean up, from their URL alone.",
    epilog=(
        "Exit codes: 0 all is well; 1 something is wrong; 2 the command line is wrong; "
        "3 the store could not be asked, or there is nothing at the URL."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for command in (
    ls.ls,
    show.show,
    why.why,
    lineage.lineage,
    report.report,
    verify.verify,
    cp.cp,
    gc.gc,
    doctor.doctor,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def top(version: bool = typer.Option(False, "--version", help="Print the version and end.")) -> None:
    """Look at results, check them and clean up, from their URL alone."""
    if version:
        from cpr import __version__

        print(f"cpr {__version__}")
        raise typer.Exit


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; its exit code."""
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
