"""`cpr diff`: compares the results of two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cpr.cli.output import (
    Json,
    as_json,
    ended,
    print_error,
    print_json,
    progress,
    results_url,
    say,
    say_unreadable,
)
from cpr.io.humanize import counted
from cpr.provenance.why_not_reused import render

if TYPE_CHECKING:
    from cpr.operations.data_difference import Change
    from cpr.operations.run_diff import ChangedResult, RunDiff

__all__ = ["EXAMPLES", "diff"]

EXAMPLES = (
    ("cpr diff s3://my-bucket/records 6b3ac873 91f0c2aa", "what the second run has made otherwise"),
    ("cpr diff s3://my-bucket/records 6b3ac873 91f0c2aa -o diff", "with pictures of where images differ"),
)


def diff(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="[URL] RUN_A RUN_B",
            help="Ids of two flow runs, or how they begin; before them where records are, "
            "else where Prefect is configured to keep results.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FOLDER", help="Folder or URL for pictures of the differences."
        ),
    ] = None,
    data: Annotated[
        bool, typer.Option("--data/--no-data", help="Read the results that differ, to say by how much.")
    ] = True,
    json: Json = False,
) -> None:
    """Compare what two runs of a flow have made: which results differ, why, and by how much.

    Two results are compared if the same task has made them under the same name. A run's results are those
    that it has made and those that they were made from, including cached results of earlier runs. Exit code 1
    says that something differs, or that a record cannot be read.
    """
    if len(runs) not in (2, 3):
        raise typer.BadParameter("two runs are compared: [URL] RUN_A RUN_B")
    url = results_url(runs[0] if len(runs) == 3 else None)
    with progress("reading records") as advance:
        from cpr.operations.run_diff import diff_runs

        found = diff_runs(url, runs[-2], runs[-1], data, advance)
    pictures = _write_pictures(found, output) if output is not None else {}
    if json:
        print_json(_as_json(found, pictures))
    else:
        _print(found, pictures)
    ended(bool(found.changed or found.only_old or found.only_new or found.problems))


def _write_pictures(found: RunDiff, output: str) -> dict[int, str]:
    """Write pictures of differences; returns their URLs by the number of the result."""
    from cpr import io
    from cpr.io.confinement import writing_only_below
    from cpr.io.hashing import hex16
    from cpr.operations.resolve_references import alike

    folder, written = io.normalise(output), {}
    shown = {
        number: (one.new, one.change.picture)
        for number, one in enumerate(found.changed)
        if one.change is not None and one.change.picture is not None
    }
    names = {number: io.split(url)[1].partition(".")[0] for number, (url, _) in shown.items()}
    several = alike(names.values())
    for number, (url, picture) in shown.items():
        name = names[number] + (f"-{hex16(url.encode())}" if names[number] in several else "")
        written[number] = io.join(folder, f"{name}.png")
        with writing_only_below(folder), io.writing(written[number]) as file:
            file.write(picture)
    return written


def _as_json(found: RunDiff, pictures: dict[int, str]) -> object:
    changed = []
    for number, one in enumerate(found.changed):
        fields = as_json(one)
        if one.change is not None:
            fields["change"].pop("picture")
        changed.append(
            {**fields, "words": [render(cause) for cause in one.causes], "picture": pictures.get(number)}
        )
    return {
        **as_json({name: value for name, value in vars(found).items() if name != "changed"}),
        "changed": changed,
    }


def _print(found: RunDiff, pictures: dict[int, str]) -> None:
    for number, one in enumerate(found.changed):
        _print_changed(one, pictures.get(number))
    for run, urls in ((found.old_run, found.only_old), (found.new_run, found.only_new)):
        for url in urls:
            say(f"only in {run[:8]}: {url}")
    different = counted(len(found.changed), "result")
    alone = len(found.only_old) + len(found.only_new)
    say_unreadable(found.problems)
    say(f"{different} changed, {alone:,} in one run only, {found.same:,} the same.")


def _print_changed(one: ChangedResult, picture: str | None) -> None:
    say(f"{one.name}" + (f", by {one.task}" if one.task else ""))
    say(f"  was  {one.old}", f"  is   {one.new}")
    for cause in dict.fromkeys(map(render, one.causes)):
        say(f"  because  {cause}")
    if one.options:
        say(f"  options  {', '.join(one.options)}")
    if one.change is not None:
        for text in _told(one.change):
            say(f"  data     {text}")
    if picture is not None:
        say(f"  picture  {picture}")
    if one.problem is not None:
        print_error(one.problem)


def _told(change: Change) -> list[str]:
    texts = list(change.notes)
    if change.total:
        text = f"{change.different:,} of {counted(change.total, change.unit)} differ"
        if change.largest is not None:
            text += f", by {change.largest:,.6g} at most"
        texts.append(text)
    return texts
