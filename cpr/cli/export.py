"""`cpr export`: exports a run as an RO-Crate, for archives and programs without cpr."""

from __future__ import annotations

from typing import Annotated

import typer

from cpr.cli.output import (
    Json,
    ended,
    print_json,
    progress,
    results_url,
    say,
    say_unreadable,
    size,
    told_if_interrupted,
)
from cpr.io.humanize import counted
from cpr.operations.crate import export_crate

__all__ = ["EXAMPLES", "export"]

EXAMPLES = (
    (
        "cpr export s3://my-bucket/records --ro-crate 6b3ac873 -o crate",
        "what one run has made, and from what",
    ),
    ("cpr export s3://my-bucket/records --ro-crate 6b3ac873 -o crate --data", "with the results themselves"),
)


def export(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL", help="Where records are; else where Prefect is configured to keep results."
        ),
    ] = None,
    run: Annotated[
        str,
        typer.Option("--ro-crate", metavar="RUN", help="The flow run: its id, or how that begins."),
    ] = "",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FOLDER", help="Folder or URL of the crate.")
    ] = "crate",
    data: Annotated[
        bool, typer.Option("--data", help="Copy the results into the crate; else it names their URLs.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option("--license", metavar="URL", help="The licence under which the results are published."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a run as a Workflow Run RO-Crate, a format of archives: what was made, by which tasks, from what.

    The crate is a folder with ro-crate-metadata.json, which any JSON reader understands: flow, task runs,
    sources with their versions, settings, results with their checksums. Secrets are in no record, and so in
    no crate.
    """
    if not run:
        raise typer.BadParameter("say which run: --ro-crate RUN")
    copied = 0

    def tell() -> None:
        say(f"{counted(copied, 'result')} copied to {output}, which is no crate yet: run it again.")

    with told_if_interrupted(tell), progress("reading records") as advance:

        def count(stage: str | None = None, **more: int) -> None:
            nonlocal copied
            copied += stage is not None
            advance(stage=stage, **more)

        found = export_crate(results_url(url), run, output, data, licence, count)
    if json:
        print_json(found)
    else:
        amount = f", {size(found.nbytes)} copied" if data else ""
        say(f"{found.url}: {counted(found.results, 'result')}{amount}, {counted(found.sources, 'source')},")
        say(f"{counted(found.actions, 'task run')} of run {found.flow_run}.")
        say_unreadable(found.problems)
    ended(bool(found.problems))
