"""`cpr doctor`: examines whether a store is fit for results."""

from __future__ import annotations

from typing import Annotated

import typer

from cpr.cli.output import Json, as_json, ended, print_json, progress, say
from cpr.operations.doctor import Examination, Finding, examine

__all__ = ["EXAMPLES", "doctor"]

EXAMPLES = (
    ("cpr doctor s3://my-bucket/results", "before the first run, and when something is odd"),
    ("cpr doctor s3://my-bucket/results --remove-leftovers", "and clean up behind killed processes"),
)

_MARKS = {"good": "ok", "poor": "poor", "wrong": "WRONG", "not tried": "-"}


def doctor(
    url: Annotated[str, typer.Argument(metavar="URL", help="The bucket or folder where results are to be.")],
    mib: Annotated[
        int, typer.Option("--mib", metavar="N", min=0, help="Measure speed with N MiB; 0 does not measure.")
    ] = 32,
    remove_leftovers: Annotated[
        bool,
        typer.Option(
            "--remove-leftovers", help="Remove what killed processes left there more than a day ago."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Try out what cpr relies on, on your own bucket, and say what is wrong and how to fix it.

    Everything happens in a scratch folder under URL, which is removed again. Exit code 1 says that something
    is wrong; where something is only poor, cpr works, with less than could be.
    """
    with progress("examining") as advance:

        def tell(finding: Finding) -> None:
            advance()
            if not json:
                _print(finding)

        result = examine(url, mib, remove_leftovers, tell)
    if json:
        print_json({**as_json(result), "is_fit": result.is_fit})
    else:
        _print_end(result)
    ended(not result.is_fit)


def _print(finding: Finding) -> None:
    say(f"{_MARKS[finding.status]:5}  {finding.check:18}  {finding.text}")
    if finding.remedy is not None:
        say(f"{'':27}remedy: {finding.remedy}")


def _print_end(result: Examination) -> None:
    for orphan in result.orphans if not result.removed else []:
        kind = "upload" if orphan.upload else "file"
        say(f"{'':27}{kind} {orphan.url}, last written to {orphan.modified:%Y-%m-%d %H:%M}")
    say("", f"{result.url} is {'fit' if result.is_fit else 'not fit'} for results of cpr.")
