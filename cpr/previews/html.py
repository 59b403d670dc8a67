"""HTML that a notebook shows for a resource: its preview, and what is known of it."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any

from cpr.errors import CprError
from cpr.io.humanize import human_size
from cpr.previews.models import Picture, Preview

__all__ = ["Shown", "html_of", "png_of"]


class Shown:
    """Base class for resources: their HTML representation in notebooks."""

    def facts(self) -> dict[str, Any]:
        """Summary for people, without asking the store."""
        return {}

    def preview(self) -> Preview | None:
        """A thumbnail or the first rows of a table, for people; it is not verified.

        At most a megabyte or a few planes are read. None where there is nothing to be seen.

        Raises as `get_data`.
        """
        return None

    def _sampled(self) -> Preview | None:
        """A preview from parts of a large object without a stored preview; None if impossible."""
        return None

    def details(self) -> dict[str, Any]:
        """`facts`, and what the object contains: axes, pixel size and channels of an image, for people.

        A few kilobytes of a file that is not known yet are read. Raises as `get_data`.
        """
        return self.facts()

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_png_(self) -> bytes | None:
        return png_of(self)


def png_of(resource: Shown) -> bytes | None:
    """The PNG of a resource's preview; None if there is no picture or it cannot be read."""
    try:
        preview = resource.preview()
    except CprError:
        return None  # its text is what `html_of` shows
    return preview.png if isinstance(preview, Picture) else None


def html_of(resource: Shown) -> str:
    """The preview beside a table of facts; if it cannot be read, the error text instead."""
    facts = resource.facts()
    try:
        facts = resource.details()
        preview = resource.preview()
        shown = preview.to_html() if preview is not None else ""
        caption = preview.caption if isinstance(preview, Picture) else ""
    except CprError as error:
        shown, caption = f"<pre>{html.escape(str(error))}</pre>", ""
    facts = {**facts, **({"shown": caption} if caption else {}), **_made_by(resource)}
    if isinstance(facts.get("bytes"), int):
        facts["bytes"] = human_size(facts["bytes"])
    lines = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left;overflow-wrap:anywhere'>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    # Side by side where there is room, else one below the other: a page may be read on a telephone.
    return (
        "<div style='display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start'>"
        f"<div style='max-width:100%;overflow-x:auto'>{shown}</div>"
        f"<div style='flex:1 1 20em;min-width:0'><table>{lines}</table></div></div>"
    )


def _made_by(resource: Any) -> dict[str, str]:
    """Task, flow and time of a target, if known."""
    made = getattr(resource, "made", None)
    if made is None or made.task is None:
        return {}
    flow = f" in {made.flow}" if made.flow else ""
    when = f", {datetime.fromtimestamp(made.at, UTC):%Y-%m-%d %H:%M} UTC" if made.at else ""
    return {"made by": f"{made.task}{flow}{when}"}
