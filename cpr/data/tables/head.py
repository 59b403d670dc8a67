"""Previews of tables: the first rows as text."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cpr.previews.models import Head

__all__ = ["HeadMaker", "head_of"]

_ROWS = 5
_COLUMNS = 10
_CHARACTERS = 40


class HeadMaker:
    """Makes a table head from the first chunks of a table."""

    def __init__(self) -> None:
        self._frame: pd.DataFrame | None = None

    def take(self, piece: pd.DataFrame) -> None:
        """Process the next chunk."""
        if self._frame is None:
            self._frame = piece.head(_ROWS).copy()  # the chunk may be filled again
        elif len(self._frame) < _ROWS:
            self._frame = pd.concat([self._frame, piece.head(_ROWS - len(self._frame))])

    def finish(self) -> Head | None:
        """The head; None if there was no chunk."""
        return None if self._frame is None else head_of(self._frame)


def head_of(frame: pd.DataFrame) -> Head:
    """The first five rows and ten columns of a frame, with its index unless it is just row numbers.

    >>> head_of(pd.DataFrame({"area": [12.5, 3.25]})).rows
    (('12.5',), ('3.25',))
    """
    shown = frame.iloc[:_ROWS, :_COLUMNS]
    levels: list[str] = []
    if not isinstance(frame.index, pd.RangeIndex):
        levels = [_text(name) if name is not None else "" for name in frame.index.names]
    rows = []
    for at in range(len(shown)):
        label = shown.index[at]
        labels = label if isinstance(label, tuple) else (label,)
        cells = [_text(shown.iloc[at, column]) for column in range(shown.shape[1])]
        rows.append((*(map(_text, labels) if levels else ()), *cells))
    columns = (*levels, *(_text(label) for label in shown.columns))
    return Head(columns, tuple(rows), max(0, frame.shape[1] - _COLUMNS))


def _text(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"
