"""`cpr cp`: copies results to another place."""

from __future__ import annotations

from typing import Annotated

import typer

from cpr.cli.output import (
    Json,
    ended,
    print_json,
    print_table,
    progress,
    say,
    size,
    told_if_interrupted,
)
from cpr.io.humanize import counted
from cpr.operations.cp import Copy, copy_results

__all__ = ["EXAMPLES", "cp"]

EXAMPLES = (
    ("cpr cp s3://my-bucket/records /archive/run-7 --run 6b3ac873", "one run, out of the bucket"),
    (
        "cpr cp s3://my-bucket/records s3://other/records --data s3://other/results",
        "records and targets into places of their own, from where Prefect uses them",
    ),
)


def cp(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Where records are.")],
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="The folder or prefix for them.")],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="URL",
            help="For targets that are not below SOURCE. Default: DESTINATION/data.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", metavar="ID", help="Only what this flow run has made: its id, or how that begins."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Copy records with their targets to another place, comparing digests on the way.

    What is below SOURCE keeps its path below DESTINATION, and the copied records say where their targets are
    now. If another result is at the destination already, it stays as it is, and the copy is reported as
    failed. Run the command again to go on where it stopped. Exit code 1 says that something could not be
    copied.
    """
    result = Copy()
    with told_if_interrupted(lambda: _print(result, destination)), progress("reading records") as advance:
        copy_results(source, destination, data, run, advance, result)
    if json:
        print_json(result)
        ended(bool(result.failed), not result.targets and not result.records)
    _print(result, destination)
    ended(bool(result.failed), not result.targets and not result.records)


def _print(result: Copy, destination: str) -> None:
    if result.failed:
        print_table(
            ("not copied", "problem", "URL"),
            ((one.kind, one.error.problem if one.error else "", one.source) for one in result.failed),
        )
    there = f"{counted(result.targets, 'target')} and {counted(result.records, 'record')}"
    say(f"{there} are at {destination}: {size(result.nbytes)} in {result.seconds:.1f} s.")
    if result.foreign:
        say(f"{counted(result.foreign, 'record')} of other serializers, left out.")
