"""`cpr savings`: shows how much time and data the cache has saved."""

from __future__ import annotations

from cpr.cli.output import (
    Json,
    ResultsUrl,
    as_json,
    ended,
    print_json,
    print_table,
    progress,
    results_url,
    say,
    say_unreadable,
    size,
)
from cpr.io.humanize import counted
from cpr.operations.savings import Savings
from cpr.operations.savings import savings as sum_up

__all__ = ["EXAMPLES", "savings"]

EXAMPLES = (("cpr savings s3://my-bucket/records", "time and bytes that runs did not need again, by task"),)


def savings(url: ResultsUrl = None, json: Json = False) -> None:
    """Say how much time and how many bytes the cache has saved, by task.

    This asks Prefect's server, the one that PREFECT_API_URL names: it knows which runs found their result in
    the cache, and how long the run took that made it. Only results that records under URL name are counted,
    and only as long as the server remembers their runs.
    """
    url = results_url(url)
    with progress("reading records") as advance:
        from cpr.prefect.task_runs import completed_runs  # takes seconds, of which the bar tells

        found = sum_up(url, completed_runs(), advance)
    if json:
        print_json({**as_json(found), "seconds": found.seconds, "nbytes": found.nbytes})
    else:
        _print(found)
    ended(bool(found.problems), not found.tasks)


def _print(found: Savings) -> None:
    if found.tasks:
        print_table(
            ("task", "computed", "cached", "time", "data"),
            (
                (one.task, f"{one.computed:,}", f"{one.hits:,}", _duration(one.seconds), size(one.nbytes))
                for one in found.tasks
            ),
            right=("computed", "cached", "time", "data"),
        )
    hits = sum(one.hits for one in found.tasks)
    say(f"{_duration(found.seconds)} and {size(found.nbytes)} spared by {counted(hits, 'cached run')}.")
    if estimated := sum(one.estimated for one in found.tasks):
        say(f"Of {counted(estimated, 'of them', 'of them')} the time is the mean of the task's other runs.")
    if unknown := sum(one.unknown for one in found.tasks):
        say(f"Of {counted(unknown, 'of them', 'of them')} nothing is known of the time; they count none.")
    if found.elsewhere:
        say(f"{counted(found.elsewhere, 'cached run')} of results that no record here names.")
    say_unreadable(found.problems)


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:,.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.1f} min"
        if seconds >= 60
        else f"{seconds:.1f} s"
    )
