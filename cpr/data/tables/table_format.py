"""The base class of table formats: layout, hashing, streaming, and assembling columns into a table."""

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
    """A table format that knows the layout of its table; subclasses encode and decode columns.

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
        """This format with the layout of the table. Raises EncodeError for unsupported tables."""
        return replace(self, table=layout_of(data).to_json())

    def fingerprint(self, data: pd.DataFrame) -> str:
        """The content hash of the table (see `cpr.data.tables`)."""
        return hash_frame(data)

    def stream(self, data: Any) -> Frames:
        """The table as a stream of pieces."""
        return Frames.of(data)

    def share(self, data: pd.DataFrame) -> pd.DataFrame:
        """A copy of a cached frame."""
        return own_copy(data)

    def preview_maker(self, stream: Frames) -> HeadMaker:  # noqa: ARG002 - other formats need it
        """Make the object that receives the chunks and makes a `Head` from the first ones."""
        return HeadMaker()

    def _recorded(self) -> Layout:
        """The layout of the stored table. Raises DecodeError if it is not known."""
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
        """Assemble the table from pieces; no more are read than have the recorded number of rows.

        Args:
            layout: the recorded layout.
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
    """Make the error for a file with another number of rows than recorded."""
    return DecodeError(
        "another number of rows",
        expected=f"{expected} rows",
        actual=str(actual),
        remedy="restore the file: it was cut, appended to or replaced by another one",
    )
