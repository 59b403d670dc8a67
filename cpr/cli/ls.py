"""`cpr ls`: lists what runs have produced."""

from __future__ import annotations

from typing import Annotated

import typer

from cpr.cli.output import (
    Json,
    ResultsUrl,
    ended,
    print_json,
    print_table,
    progress,
    results_url,
    say,
    say_unreadable,
    size,
    time_of,
)
from cpr.io.humanize import counted
from cpr.operations.ls import Listed, Listing, list_results

__all__ = ["EXAMPLES", "ls"]

EXAMPLES = (
    ("cpr ls s3://my-bucket/records", "the newest results"),
    ("cpr ls s3://my-bucket/records --runs", "runs of flows, with what each has made"),
    ("cpr ls s3://my-bucket/records --limit 0 --json", "everything, for a program"),
)


def ls(
    url: ResultsUrl = None,
    runs: Annotated[bool, typer.Option("--runs", help="List runs of flows instead of targets.")] = False,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            "--most",
            metavar="N",
            min=0,
            help="List only the newest N; the totals count all. 0 lists all.",
        ),
    ] = 1000,
    json: Json = False,
) -> None:
    """List what runs have produced: targets, their sizes, when and by which task they were made.

    Only records and names are read, no data. A target that no record names is listed with "no record".
    Exit code 1 says that a record cannot be read.
    """
    url = results_url(url)
    with progress("reading records") as advance:
        listing = list_results(url, limit or None, advance)
    nothing = not listing.records and not listing.unrecorded
    if json:
        print_json(listing)
        ended(bool(listing.problems), nothing)
    if runs:
        _print_runs(listing)
    else:
        _print_targets(listing, url)
    _print_summary(listing, url)
    ended(bool(listing.problems), nothing)


def _print_targets(listing: Listing, url: str) -> None:
    if listing.newest:
        print_table(
            ("made", "task", "type", "size", "URL"),
            (
                (
                    time_of(one.when),
                    one.task or "",
                    one.type or "no record",
                    size(one.nbytes),
                    _short(one, url),
                )
                for one in listing.newest
            ),
            right=("size",),
        )
    if (rest := listing.targets + listing.unrecorded - len(listing.newest)) > 0:
        say(f"{counted(rest, 'older target')} not shown: --limit 0 shows all", "")


def _short(one: Listed, url: str) -> str:
    """The URL without the listed prefix, which is the same in every line."""
    from cpr import io

    base = io.normalise(url).rstrip("/") + "/"
    return one.url.removeprefix(base)


def _print_runs(listing: Listing) -> None:
    if not listing.runs:
        say("No record here tells of a run: results made outside of tasks, or by an older cpr, do not.")
        return
    print_table(
        ("first", "last", "flow", "run", "tasks", "targets", "size"),
        (
            (
                time_of(run.first),
                time_of(run.last),
                run.flow or "",
                run.flow_run or "",
                ", ".join(sorted(run.tasks)),
                f"{run.targets:,}",
                size(run.nbytes),
            )
            for run in listing.runs
        ),
        right=("targets", "size"),
    )


def _print_summary(listing: Listing, url: str) -> None:
    if not listing.records and not listing.unrecorded:
        say(f"There are no results of cpr under {url}.")
        say("A results URL is where Prefect's result storage writes, or a folder that targets are in.")
        return
    text = f"{counted(listing.targets, 'target')}, {size(listing.nbytes)}"
    say(f"{text}, in {counted(listing.records, 'record')}.")
    if listing.foreign:
        say(f"{counted(listing.foreign, 'record')} of other serializers, not looked into.")
    if listing.unrecorded:
        others = f"{counted(listing.unrecorded, 'target')}, {size(listing.unrecorded_nbytes)}"
        say(f"{others}, that no record here names.")
    say_unreadable(listing.problems)
