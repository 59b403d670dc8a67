"""`cpr gc`: deletes results that nothing refers to, in two phases."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from cpr.cli.output import (
    Json,
    as_json,
    ended,
    print_json,
    print_table,
    progress,
    say,
    size,
    time_of,
    told_if_interrupted,
)
from cpr.io.humanize import counted
from cpr.operations.gc import DEFAULT_GRACE, Collection, collect

__all__ = ["EXAMPLES", "duration", "gc"]

EXAMPLES = (
    ("cpr gc s3://my-bucket/records s3://my-bucket/results", "what would be marked and deleted"),
    (
        "cpr gc s3://my-bucket/records s3://my-bucket/results --older-than 90d --delete",
        "once a day, from cron",
    ),
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(text: str) -> timedelta:
    """Parse a time span such as people write.

    >>> duration("7d"), duration("90m")
    (datetime.timedelta(days=7), datetime.timedelta(seconds=5400))
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time span: a number and s, m, h, d or w are, such as 7d")
    try:
        return timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    except OverflowError:
        raise typer.BadParameter(f"{text[:40]!r} is longer than two million years") from None


def gc(
    urls: Annotated[
        list[str],
        typer.Argument(metavar="URL...", help="All places with records that may refer to the targets there."),
    ],
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Delete records written longer ago too, with their data: 90d."
        ),
    ] = None,
    grace: Annotated[
        str,
        typer.Option(
            "--grace", metavar="TIME", help="From mark to deletion: at least twice as long as any run takes."
        ),
    ] = f"{DEFAULT_GRACE.days}d",
    delete: Annotated[
        bool, typer.Option("--delete", help="Mark and delete; without it, only say what would be done.")
    ] = False,
    without_unreadable: Annotated[
        bool,
        typer.Option(
            "--without-unreadable",
            help="Go on although some records cannot be read: what they use may be deleted.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Delete targets that no record refers to, and with --older-than old records with their data.

    This happens in two phases: what is garbage now is marked; what was marked a grace period ago, and is
    garbage still, is deleted. So call it regularly, once a day for example: each call does what is due. Flows
    may run meanwhile: they do not use what is marked. Only targets under URL are ever deleted; they are known
    by their names. Records elsewhere are not seen, so name every place that has some.
    """
    age, wait = None if older_than is None else duration(older_than), duration(grace)
    done = Collection(not delete)
    with told_if_interrupted(lambda: _print(done, grace)), progress("reading records") as advance:
        collect(urls, age, wait, delete, without_unreadable, advance, done)
    if json:
        print_json({**as_json(done), "freed": done.freed})
    else:
        _print(done, grace)
    ended(False)


def _print(done: Collection, grace: str) -> None:
    would = "would be " if done.dry else ""
    rows = [(f"{would}deleted", size(one.nbytes), time_of(one.modified), one.url) for one in done.deleted]
    rows += [(f"{would}deleted", "record", "", url) for url in done.deleted_records]
    rows += [(f"{would}marked", size(one.nbytes), time_of(one.modified), one.url) for one in done.marked]
    rows += [("in use again", "", "", url) for url in done.acquitted]
    if rows:
        print_table(("state", "size", "written", "URL"), rows, right=("size",))
    here = (
        f"{counted(done.targets, 'target')} here, {done.in_use:,} in use"
        if done.targets
        else "no target here"
    )
    say(f"{counted(done.records, 'record')} in use; {here}.")
    if done.searched:
        say(f"{counted(done.searched, 'other file')} searched: targets that these name are in use as well.")
    if done.old_records:
        say(f"{counted(done.old_records, 'record')} too old to count.")
    gone = f"{counted(len(done.deleted), 'target')} and {counted(len(done.deleted_records), 'record')}"
    say(f"{gone} {would}deleted, {size(done.freed)}.")
    marked = sum(one.nbytes for one in done.marked)
    say(f"{counted(len(done.marked), 'target')} {would}marked, {size(marked)}: due in {grace}.")
    if done.waiting:
        due = f", the first on {time_of(done.next_due)}" if done.next_due else ""
        say(f"{counted(done.waiting, 'target')} marked earlier, waiting{due}.")
    for folder, count in sorted(done.elsewhere.items()):
        say(f"Not looked at: {folder}, where records here have {counted(count, 'target')}. Name it as well.")
    if done.dry:
        say("Nothing was touched. With --delete it is done.")
