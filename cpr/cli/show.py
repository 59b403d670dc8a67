"""`cpr show`: shows everything known of a result."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cpr.cli.output import (
    Json,
    as_json,
    console,
    ended,
    is_name,
    print_error,
    print_json,
    print_table,
    progress,
    results_url,
    say,
    size,
    time_of,
)
from cpr.errors import CprError

if TYPE_CHECKING:
    from cpr.operations.show import Shown

__all__ = ["EXAMPLES", "show"]

EXAMPLES = (
    ("cpr show s3://my-bucket/records cell-64320e5f", "a result, by how its file name begins"),
    ("cpr show s3://my-bucket/records/93b1c1a0", "all resources in one record"),
)

_COLUMNS, _ROWS = 64, 48


def show(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL", help="A record, a target, or a result's name; or where records are, with RESULT."
        ),
    ],
    result: Annotated[
        str | None,
        typer.Argument(metavar="RESULT", help="A result's URL or file name, or how that begins."),
    ] = None,
    picture: Annotated[
        bool, typer.Option("--picture/--no-picture", help="Draw images, in terminals that have colours.")
    ] = True,
    json: Json = False,
) -> None:
    """Show what is known of a result: its record, whether it is there, how it was made, and how it looks.

    Give the URL of a record, or a results URL and the name of a result. The record of a target that is given
    by its URL or name alone is looked for where Prefect is configured to keep results. Exit code 1 says that
    the result is gone or has another size.
    """
    from cpr.operations.object_names import owner_of

    if result is None and (owner_of(url) is not None or is_name(url)):
        url, result = results_url(None), url
    with progress("reading records") as advance:
        from cpr.operations.show import show as find

        found = find(url, result, advance)
    if json:
        print_json([_as_json(one) for one in found])
    else:
        for one in found:
            _print(one)
            if picture and one.state == "there":
                _draw(one)
        if not found:
            say(f"{url} is the record of a result in which there are no resources.")
    ended(any(one.state in ("gone", "of another size") or one.problem is not None for one in found))


def _as_json(one: Shown) -> dict[str, Any]:
    reference = one.reference
    return {
        "url": reference.url,
        "type": reference.type,
        "data_hash": reference.fields.get("data_hash"),
        "checksum": reference.checksum,
        "nbytes": reference.nbytes,
        "options": one.options,
        **{name: value for name, value in as_json(one).items() if name != "reference"},
        "made": None if one.made is None else one.made.to_json(),
    }


def _print(one: Shown) -> None:
    reference = one.reference
    say(reference.url)
    _line("type", reference.type)
    if reference.nbytes is not None:
        _line("size", f"{size(reference.nbytes)} ({reference.nbytes:,} bytes), {one.state}")
    _line("content", reference.fields.get("data_hash"))
    _line("checksum", reference.checksum)
    for name, value in one.options.items():
        _line(name, _brief(value))
    made = one.made
    if made is not None:
        _line("task", made.task)
        _line("flow", " ".join(filter(None, (made.flow, made.flow_run))))
        _line("made", None if made.when is None else time_of(made.when))
        for name, value in made.inputs.items():
            _line(f"  {name}", _brief(value.to_json()))
    _line("record", f"{one.record}, written {time_of(one.recorded)}")
    if one.problem is not None:
        print_error(one.problem)


def _line(name: str, value: str | None) -> None:
    if value:
        say(f"  {name:12} {value}")


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json_module.dumps(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _draw(one: Shown) -> None:
    """Draw a picture with half blocks, two pixels in each character; for a table its first rows."""
    from cpr.operations.show import preview_of, shrunk
    from cpr.previews.models import Head

    try:
        preview = preview_of(one)
        if isinstance(preview, Head):
            print_table(preview.columns, preview.rows)
            return
        out = console()
        if preview is None or out.color_system not in ("truecolor", "256"):
            return
        pixels = shrunk(preview, _COLUMNS, _ROWS)
    except CprError as error:
        print_error(error)
        return
    from rich.text import Text

    for row in range(0, len(pixels) - 1, 2):
        line = Text()
        for upper, lower in zip(pixels[row], pixels[row + 1], strict=True):
            line.append("▀", style=f"rgb({','.join(map(str, upper))}) on rgb({','.join(map(str, lower))})")
        out.print(line)
