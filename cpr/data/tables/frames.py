"""DataFrames as streams of pieces that are hashed on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from cpr.data.tables.layout import Layout
from cpr.data.tables.table_digest import Piece, TableDigest
from cpr.errors import EncodeError
from cpr.format import Stream
from cpr.records.usage_errors import remedy_for_no_data

__all__ = ["Frames", "frames_of", "hash_frame", "layout_of", "own_copy"]


def hash_frame(frame: pd.DataFrame) -> str:
    """The content hash (16 hex digits) of a frame: labels, dtypes, index and values.

    >>> frame = pd.DataFrame({"a": [1, 2, 3]})
    >>> hash_frame(frame) == hash_frame(frame.rename(columns={"a": "b"}))
    False
    """
    frames = Frames(frame)
    for _ in frames:
        pass
    return frames.fingerprint


def layout_of(data: Any) -> Layout:
    """The layout of a DataFrame, or of the first chunk of Frames.

    Raises EncodeError, naming the column, for what a table on disk cannot hold.
    """
    if not isinstance(data, pd.DataFrame):
        return Frames.of(data).layout
    layout = Layout.of(data)
    passed = TableDigest(layout)
    # What is missing among Python objects is the one thing that dtypes do not tell.
    passed.look_for_absent(data)
    return replace(passed.layout(), rows=len(data))


def frames_of(data: Any) -> Any:
    """Convert the argument of `set_data`: a DataFrame to hold, or Frames to stream.

    Raises EncodeError for what is no table.
    """
    if isinstance(data, (pd.DataFrame, Frames, Stream)):
        return data
    return Frames(data)


def own_copy(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy that shares no memory with the frame, not even labels.

    A shallow one is not enough: pandas copies on write through the frame, not through `frame[x].array`.
    """
    return frame.copy().set_axis(frame.index.copy(deep=True)).set_axis(frame.columns.copy(deep=True), axis=1)


class Frames(Stream[Piece]):
    """A table as a stream of pieces.

    Args:
        data: a DataFrame, an iterable of DataFrames (chunks of one table, in order), or a dask DataFrame.

    Columns and dtypes are those of the first chunk. Chunks that have the default index are numbered on,
    as one table. Raises EncodeError when a chunk differs from the first one in labels or dtypes, holds
    what a table on disk cannot, or is no DataFrame.

    >>> frames = Frames([pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [3]})])
    >>> [piece.rows for piece in frames]
    [2, 1]
    >>> frames.fingerprint == hash_frame(pd.DataFrame({"a": [1, 2, 3]}))
    True
    """

    def __init__(self, data: Any) -> None:
        self._chunks = _chunks(data)
        self._first: pd.DataFrame | None = None
        self._layout: Layout | None = None
        self._fingerprint: str | None = None

    @classmethod
    def of(cls, data: Any) -> Frames:
        """Return `data` if it is a stream of frames already, else a new stream over it."""
        return data if isinstance(data, cls) else cls(data)

    @property
    def layout(self) -> Layout:
        """The layout: at first of the first chunk; after the last chunk, of the whole table."""
        if self._layout is None:
            self._first = next(self._chunks, None)
            if self._first is None:
                raise EncodeError(
                    "an iterable without a single chunk has no columns",
                    field="data",
                    expected="at least one DataFrame",
                    actual="none",
                    remedy="yield one DataFrame without rows: frame.iloc[:0]",
                )
            self._layout = Layout.of(self._first)
        return self._layout

    @property
    def fingerprint(self) -> str:
        """The content hash; known after the last piece."""
        if self._fingerprint is None:
            raise RuntimeError("the table has not passed yet")
        return self._fingerprint

    def described(self) -> dict[str, Any]:
        """The format's field `table`, including the number of rows."""
        return {"table": self.layout.to_json()}

    def __iter__(self) -> Iterator[Piece]:
        layout = self.layout
        first, self._first = self._first, None
        passed = TableDigest(layout)
        number = 0
        chunk: pd.DataFrame | None = first
        while chunk is not None:
            if number:
                passed.require_same(chunk, number)
            if self.on_piece is not None:
                self.on_piece(chunk)
            yield from passed.pieces(chunk, number)
            number += 1
            chunk = next(self._chunks, None)
        self._layout = passed.layout()
        self._fingerprint, self.content = passed.fingerprint(self._layout), passed.second(self._layout)


def _chunks(data: Any) -> Iterator[pd.DataFrame]:
    if isinstance(data, pd.DataFrame):
        return iter([data])
    if isinstance(data, pd.Series):
        raise _no_table(data, "make it a table of one column: series.to_frame()")
    if hasattr(data, "partitions") and hasattr(data, "npartitions"):
        return _partitions(data)
    is_iterable = isinstance(data, Iterable) and not isinstance(data, (dict, np.ndarray))
    if not is_iterable or remedy_for_no_data(data) is not None:
        raise _no_table(data, "make it a DataFrame: pandas.DataFrame(...)")
    return _checked(data)


def _partitions(data: Any) -> Iterator[pd.DataFrame]:
    """The partitions of a dask DataFrame, computed one by one with threads of this process."""
    for number in range(data.npartitions):
        yield data.partitions[number].compute(scheduler="threads")


def _checked(data: Iterable[Any]) -> Iterator[pd.DataFrame]:
    for number, chunk in enumerate(data):
        if not isinstance(chunk, pd.DataFrame):
            raise EncodeError(
                f"chunk {number} is no DataFrame",
                field="data",
                expected="DataFrames",
                actual=type(chunk).__name__,
                remedy="yield pandas.DataFrame(...) for every chunk",
            )
        yield chunk


def _no_table(data: Any, remedy: str) -> EncodeError:
    return EncodeError(
        "not a table",
        field="data",
        expected="a DataFrame or an iterable of DataFrames",
        actual=type(data).__name__,
        remedy=remedy_for_no_data(data) or remedy,
    )
