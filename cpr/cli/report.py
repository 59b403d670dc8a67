"""`cpr report`: writes an HTML file on what runs produced."""

from __future__ import annotations

from typing import Annotated

import typer

from cpr import io
from cpr.cli.output import (
    Json,
    ResultsUrl,
    ended,
    print_json,
    progress,
    results_url,
    say,
    say_unreadable,
)
from cpr.io.confinement import writing_only_below
from cpr.io.humanize import counted, human_size

__all__ = ["EXAMPLES", "report"]

EXAMPLES = (
    ("cpr report s3://my-bucket/records", "everything, as report.html"),
    ('cpr report s3://my-bucket/records -o week.html --title "Week 12"', "under another name"),
)


def report(
    url: ResultsUrl = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The page to write, or its URL.")
    ] = "report.html",
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="Heading of the page; else the URL.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="ID",
            help="The flow run to report; what others made counts as cached. Else the newest.",
        ),
    ] = None,
    previews: Annotated[
        int,
        typer.Option(
            "--previews", metavar="N", help="Show pictures and table heads of the newest N targets."
        ),
    ] = 1000,
    json: Json = False,
) -> None:
    """Write one HTML file with pictures, table heads, sizes, hashes and origins of results.

    No network and no server are needed to read it. What was made of the same raw data stands side by side, a
    row for each sample; rows can be sorted, searched and opened, and a drawing shows the way from sources to
    results. Exit code 1 says that some results are gone or damaged, or that a record cannot be read.
    """
    url = results_url(url)
    with progress("looking at results") as advance:
        from cpr.operations.report import gather, render

        results, unreadable = gather(
            url, run, previews, lambda one, of: advance(nbytes=one.facts.get("bytes") or 0, total=of)
        )
    if not results and json:
        print_json({"page": None, "nbytes": 0, "results": [], "problems": unreadable})
        ended(bool(unreadable), nothing=True)
    if not results:
        say_unreadable(unreadable)
        say(f"No record under {url} names a target: there is nothing to show.")
        ended(bool(unreadable), nothing=True)
    page = render(results, title or url, unreadable)
    place = io.normalise(output)
    with writing_only_below(io.split(place)[0]), io.writing(place) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
    nbytes = len(page.encode("utf-8", "backslashreplace"))
    wrong = [result for result in results if result.problem is not None]
    if json:
        shown = [
            {"url": result.url, "task": result.task, "state": result.state, "problem": result.problem}
            for result in results
        ]
        print_json({"page": output, "nbytes": nbytes, "results": shown, "problems": unreadable})
        ended(bool(wrong or unreadable))
    for result in wrong:
        say(result.problem or "")
    say_unreadable(unreadable)
    say(f"{counted(len(results), 'result')} in {output} ({human_size(nbytes)}).")
    ended(bool(wrong or unreadable))
