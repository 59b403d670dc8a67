"""`cpr forget`: deletes cache entries, so that the next run computes results again."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer

from cpr.cli.gc import duration
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
    told_if_interrupted,
)
from cpr.io.humanize import counted
from cpr.operations.forget import Forgetting
from cpr.operations.forget import forget as forget_results
from cpr.operations.result_filter import ResultFilter

__all__ = ["EXAMPLES", "forget"]

EXAMPLES = (
    ("cpr forget s3://my-bucket/records --task segment", "what the next run would compute again"),
    ("cpr forget s3://my-bucket/records --task segment --delete", "and now it will"),
    ("cpr forget s3://my-bucket/records --run 6b3ac873 --delete", "all that one run has made"),
)


def forget(
    url: ResultsUrl = None,
    task: Annotated[str | None, typer.Option("--task", metavar="NAME", help="Results of this task.")] = None,
    flow: Annotated[str | None, typer.Option("--flow", metavar="NAME", help="Results of this flow.")] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="ID", help="What this flow run has made: its id, or how that begins."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="RESULT", help="By URL or file name, or how that begins."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Results whose records were written longer ago: 90d."
        ),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Forget them; without it, only list them.")
    ] = False,
    json: Json = False,
) -> None:
    """Forget results, so that the next run computes them again; without --delete only say which.

    A result is chosen if it fits all options that are given. What is deleted are the records by which Prefect
    finds cached results; the data stays until cpr gc deletes it, when nothing refers to it. What was made
    from a forgotten result is computed again only if that comes out differently. If a task has returned
    several results at once, choosing one forgets all of them. Exit code 3 says that no result was chosen.
    """
    before = None if older_than is None else datetime.now(UTC) - duration(older_than)
    choice = ResultFilter(task, flow, run, name, before)
    if choice == ResultFilter():
        raise typer.BadParameter("say which results: --task, --flow, --run, --name or --older-than")
    url = results_url(url)
    done = Forgetting()
    with told_if_interrupted(lambda: _print(done)), progress("reading records") as advance:
        forget_results(url, choice, delete, advance, done)
    if json:
        print_json(done)
    else:
        _print(done)
    ended(bool(done.problems), not done.entries)


def _print(done: Forgetting) -> None:
    verb = "would be forgotten" if done.dry else "forgotten"
    rows = [
        (one.task or "", size(one.nbytes) if index == 0 else "", result)
        for one in done.entries
        for index, result in enumerate(one.results)
    ]
    if rows:
        print_table(("task", "size", "URL"), rows, right=("size",))
    targets = len({result for one in done.entries for result in one.results})
    say(f"{counted(len(done.entries), 'record')} of {counted(targets, 'result')} {verb}.")
    tasks = Counter(one.task or "?" for one in done.entries)
    if tasks:
        runs = ", ".join(f"{task} ({counted(count, 'time')})" for task, count in sorted(tasks.items()))
        say(f"The next run computes again: {runs}; and what is made from that, if it comes out differently.")
    if done.kept:
        others = counted(done.kept, "other record")
        say(f"{others} with such results, of flows or of tasks that pass them on: kept.")
    say_unreadable(done.problems)
    if done.dry and done.entries:
        say("Nothing was touched. With --delete it is done.")
