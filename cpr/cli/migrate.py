"""`cpr migrate`: makes results of custom-prefect-result readable for cpr."""

from __future__ import annotations

from typing import Annotated

import typer

from cpr.cli.output import Json, ended, print_json, print_table, progress, say, told_if_interrupted
from cpr.io.humanize import counted
from cpr.operations.migrate import Migration
from cpr.operations.migrate import migrate as migrate_results

__all__ = ["EXAMPLES", "migrate"]

EXAMPLES = (
    ("cpr migrate /data/prefect-storage", "what custom-prefect-result has stored there, verified"),
    ("cpr migrate /data/prefect-storage --write", "and give it records that cpr reads"),
)


def migrate(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="Where the records or results of custom-prefect-result are."),
    ],
    write: Annotated[
        bool, typer.Option("--write", help="Write the records; without it, only list them.")
    ] = False,
    json: Json = False,
) -> None:
    """Give results of custom-prefect-result records of cpr; without --write, verify and list them only.

    Every record of custom-prefect-result that Prefect 2 has stored, and every result without one, gets a cpr
    record beside it, NAME.cpr.json, for cpr.load, cpr ls and the other commands. Results are read once and
    verified; no file is copied or changed. Run it again to go on where it stopped. Exit code 1 says that a
    result is damaged or gone.
    """
    done = Migration()
    with told_if_interrupted(lambda: _print(done, write)), progress("verifying") as advance:
        migrate_results(folder, write, advance, done)
    if json:
        print_json(done)
    else:
        _print(done, write)
    ended(bool(done.failed))


def _print(done: Migration, write: bool) -> None:
    if done.failed:
        print_table(
            ("left as it is", "because"),
            ((one.url, one.error.problem if one.error else "") for one in done.failed),
        )
    results = sum(len(one.targets) for one in done.done)
    verb = "have" if write else "would get"
    say(f"{counted(len(done.done), 'record or result')} of custom-prefect-result {verb} a record of cpr's.")
    say(
        f"{counted(results, 'file')} in them verified; {done.before} had one before; "
        f"{counted(done.others, 'other object')}."
    )
    if done.done and not write:
        say("Add --write to write the records.")
