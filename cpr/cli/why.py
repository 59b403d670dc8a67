"""`cpr why`: explains why a result was computed although an earlier one existed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cpr.cli.output import Json, as_json, ended, print_json, progress, results_url, say, time_of
from cpr.operations.why import Explanation, compare, explain
from cpr.provenance.provenance_record import Made
from cpr.provenance.why_not_reused import render

__all__ = ["EXAMPLES", "why"]

EXAMPLES = (
    ("cpr why s3://my-bucket/records cell", "what has changed since cell was made before"),
    ("cpr why s3://my-bucket/records cell retina", "what differs between how two results were made"),
)


def why(
    url: Annotated[
        str,
        typer.Argument(
            metavar="[URL]", help="Where records are; else where Prefect is configured to keep results."
        ),
    ],
    result: Annotated[
        str | None,
        typer.Argument(
            metavar="RESULT",
            help="A result's URL or file name, or how that begins.",
            show_default=False,
        ),
    ] = None,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="OTHER", help="Another result to compare it with; else the most similar earlier one."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Explain why a result was made, instead of an earlier one of its task being used again.

    The result is compared with the most similar one that the task had made before, or with OTHER. What
    differs in arguments, sources or code is the reason. Secrets and data are in no record, so for these it
    only says that they changed.
    """
    if result is None:
        url, result = results_url(None), url
    with progress("reading records") as advance:
        found = [compare(url, result, other)] if other is not None else explain(url, result, advance)
    if json:
        print_json([_as_json(one) for one in found])
        ended(False)
    for one in found:
        _print(one)
    ended(False)


def _as_json(one: Explanation) -> dict[str, Any]:
    return {
        **as_json(one),
        "made": one.made.to_json(),
        "before": None if one.before is None else one.before.to_json(),
        "words": [render(difference) for difference in one.differences],
    }


def _print(one: Explanation) -> None:
    say(one.url)
    say(f"  made by {_run(one.made)}")
    if one.before is None:
        say("  because no result that is known here was made by this task from similar arguments.")
        return
    where = one.before_url or "a result whose record is gone"
    say(f"  compared with {where},")
    say(f"  made by {_run(one.before)}:")
    for difference in dict.fromkeys(map(render, one.differences)):
        say(f"    {difference}")


def _run(made: Made) -> str:
    parts = [made.task or "?"]
    if made.flow:
        parts.append(f"in {made.flow} {(made.flow_run or '')[:8]}".strip())
    if made.when is not None:
        parts.append(f"on {time_of(made.when)}")
    return " ".join(parts)
