"""What every format of tables does alike: describing, hashing, streaming, and putting columns together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import pandas as pd

from cpr.data.tables.frames import Frames, hash_frame, layout_of, own_copy
from cpr.data.tables.head import HeadMaker
from cpr.data.tables.layout import Layout
from cpr.data.tables.values import joined
from cpr.errors import DecodeError
from cpr.previews.models import Head

__all__ = ["TableFormat"]


@dataclass(frozen=True)
class TableFormat:
    """A format that knows the layout of its table; subclasses encode and decode its columns.

    Attributes:
        table: labels, dtypes, index and number of rows; taken from the data.
    """

    preview_class: ClassVar[type[Head]] = Head

    table: dict[str, Any] | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.table is not None:
            _ = self._layout

    @cached_property
    def _layout(self) -> Layout:
        return Layout.from_json(self.table)

    def describe(self, data: Any) -> Self:
        """This format, told the layout of the table. Raises EncodeError for what cannot be held."""
        return replace(self, table=layout_of(data).to_json())

    def fingerprint(self, data: pd.DataFrame) -> str:
        """The content hash of the table (see `cpr.data.tables`)."""
        return hash_frame(data)

    def stream(self, data: Any) -> Frames:
        """The table as a stream of pieces."""
        return Frames.of(data)

    def share(self, data: pd.DataFrame) -> pd.DataFrame:
        """A copy of a frame that is kept."""
        return own_copy(data)

    def preview_maker(self, stream: Frames) -> HeadMaker:  # noqa: ARG002 - other formats need it
        """What is shown the chunks and makes a `Head` of the first."""
        return HeadMaker()

    def _recorded(self) -> Layout:
        """The layout of the table that was written. Raises DecodeError if it is not known."""
        if self.table is None:
            raise DecodeError(
                "the dtypes of this table are not known",
                field="table",
                expected="a format that was told about a table, as a record does",
                actual="None",
                remedy="read a file of unknown columns with a source: CSVSource.from_path(url).get_data()",
            )
        return self._layout

    def _restored(self, layout: Layout, pieces: Iterable[tuple[int, Iterable[Any]]]) -> pd.DataFrame:
        """The table from pieces of it, which are not asked for beyond the recorded rows.

        Args:
            layout: what was recorded.
            pieces: of each, the number of rows and the columns as pandas arrays; these are made one by
                one, after the rows were counted.

        Raises DecodeError for another number of rows.
        """
        assert layout.rows is not None
        types = layout.stored_types
        parts: list[list[Any]] = [[] for _ in types]
        rows = 0
        for count, columns in pieces:
            rows += count
            if rows > layout.rows:
                break
            for part, column in zip(parts, columns, strict=True):
                part.append(column)
        if rows != layout.rows:
            raise other_rows(layout.rows, f"{'at least ' if rows > layout.rows else ''}{rows}")
        arrays = []
        for part, column in zip(parts, types, strict=True):
            # One column after the other, so that at most one is there twice.
            arrays.append(joined(part, column))
            part.clear()
        return layout.frame(arrays, rows)


def other_rows(expected: int | None, actual: object) -> DecodeError:
    """What to raise for a file that holds more or fewer rows than were recorded."""
    return DecodeError(
        "another number of rows",
        expected=f"{expected} rows",
        actual=str(actual),
        remedy="restore the file: it was cut, appended to or replaced by another one",
    )
