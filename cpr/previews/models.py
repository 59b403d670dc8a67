"""The two kinds of preview: a thumbnail picture, and the first rows of a table.

Previews are made while the data passes on its way to the store, so that nothing is read again for them, and
lie beside the object, in `.cpr/<name>.preview.png` or `.preview.json`; never in the record. An object of up
to 1 MiB has none there: reading it is as cheap as reading its preview would be.

A preview is for the eye. No checksum vouches for it, and nothing is computed from it.
"""

from __future__ import annotations

import base64
import html
import json
import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from cpr.errors import DecodeError
from cpr.io.outside_json import read_json

__all__ = ["MAX_BYTES", "Head", "Picture", "Preview"]

MAX_BYTES = 1 << 20
"""No stored preview is larger; more is not read."""

_MAX_SIDE = 1024
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A thumbnail, as PNG.

    Attributes:
        png: the file's bytes, at most 256 pixels a side when cpr made it.
        caption: which part of the data it shows, such as "maximum over Z"; not stored.
    """

    ending: ClassVar[str] = ".preview.png"
    mime: ClassVar[str] = "image/png"

    png: bytes
    caption: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = struct.unpack(">II", self.png[16:24])
        return int(width), int(height)

    def to_bytes(self) -> bytes:
        """The bytes that are stored."""
        return self.png

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a stored thumbnail. Raises DecodeError for anything but a small PNG."""
        picture = cls(data)
        is_png = len(data) >= 24 and data.startswith(_PNG) and data[12:16] == b"IHDR"
        if not is_png or max(picture.size) > _MAX_SIDE:
            raise _bad("a PNG of at most 1024 pixels a side", data)
        return picture

    def to_html(self) -> str:
        """An `img` element with the picture embedded."""
        data = base64.b64encode(self.png).decode()
        alt = html.escape(self.caption or "preview", quote=True)
        return f'<img alt="{alt}" title="{alt}" src="data:{self.mime};base64,{data}">'


@dataclass(frozen=True)
class Head:
    """The first rows of a table, as text.

    Attributes:
        columns: labels, the index's first where it is more than row numbers.
        rows: a text for each column.
        more_columns: how many are not shown.
    """

    ending: ClassVar[str] = ".preview.json"
    mime: ClassVar[str] = "application/json"

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more_columns: int = 0

    def to_bytes(self) -> bytes:
        """The bytes that are stored."""
        return json.dumps(
            {"columns": self.columns, "rows": self.rows, "more_columns": self.more_columns}
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a stored table head. Raises DecodeError for anything else."""
        try:
            found = read_json(data)
            columns = tuple(_text(label) for label in found["columns"])
            rows = tuple(tuple(_text(cell) for cell in row) for row in found["rows"])
            more = found["more_columns"]
            if type(more) is not int or more < 0:
                raise TypeError("a number of columns was expected")
        except (ValueError, TypeError, KeyError):
            raise _bad("the first rows of a table, as JSON", data) from None
        if any(len(row) != len(columns) for row in rows):
            raise _bad("rows of as many cells as there are columns", data)
        return cls(columns, rows, more)

    def to_html(self) -> str:
        """A `table` element."""
        more = "<th>…</th>" if self.more_columns else ""
        heads = "".join(f"<th>{html.escape(label)}</th>" for label in self.columns)
        lines = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows
        )
        return f"<table><thead><tr>{heads}{more}</tr></thead><tbody>{lines}</tbody></table>"


Preview = Picture | Head


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value


def _bad(expected: str, data: bytes) -> DecodeError:
    return DecodeError(
        "not a preview",
        expected=expected,
        actual=ascii(bytes(data[:40])),
        remedy="delete it: the result itself is elsewhere, and not concerned",
    )
