"""Detects the separator of a CSV file that cpr did not write."""

from __future__ import annotations

import re
from typing import NamedTuple

from cpr.csv.table import require_separator

__all__ = ["First", "first_rows", "guessed", "require_foreign_separator"]

WHITESPACE = r"\s+"
# The rarer one is in other text, the more it says where two fit equally well.
_GUESSED = "\t|;,"
# Excel's first line, which says what separates cells.
_EXCEL = re.compile(r'\ufeff?"?sep=([,;\t|: ])"?\r?\n')
_LINE_END = re.compile(r"\r\n|\r|\n")


class First(NamedTuple):
    """The first rows of a file, and the separator that a line `sep=` of Excel names.

    Attributes:
        said: the separator that Excel's line says; None without one.
        rows: the rows after it.
    """

    said: str | None
    rows: str


def require_foreign_separator(separator: str) -> None:
    """Raise FormatError for a separator that cannot separate cells."""
    # Blanks: R's write.table and many instruments.
    if separator not in {" ", WHITESPACE}:
        require_separator(separator)


def first_rows(start: bytes, encoding: str) -> First:
    """Read the first rows of a file."""
    text = start.decode(encoding, "ignore")
    if (said := _EXCEL.match(text)) is not None:
        return First(said[1], text[said.end() :])
    return First(None, text.removeprefix("\ufeff"))


def guessed(rows: str, quote: str, comment: str | None, skipped: int, never: str) -> str:
    """The separator on which the rows agree, or else the most frequent one in the first row.

    Args:
        rows: the first rows, the last one perhaps cut.
        quote: the quote character: what is inside does not count.
        comment: the character that begins a comment.
        skipped: number of lines before the header.
        never: characters with another meaning (decimal sign).
    """
    mark = re.escape(quote)
    plain = re.sub(f"{mark}[^{mark}]*{mark}", "", rows)
    lines = _LINE_END.split(plain)
    lines = lines[skipped : max(skipped + 1, len(lines) - 1)][:50]
    if comment is not None:
        lines = [line.partition(comment)[0] for line in lines]
    lines = [line for line in lines if line.strip(" ")] or [""]
    candidates = [sign for sign in _GUESSED if sign not in never]
    header, rest = lines[0], lines[1:] or lines
    # R gives no name to the column of row names.
    agreed = [
        sign
        for sign in candidates
        if len({row.count(sign) for row in rest}) == 1 and 0 <= rest[0].count(sign) - header.count(sign) <= 1
    ]
    best = max(agreed, key=rest[0].count, default=None)
    if best is None or not rest[0].count(best):
        best = max(candidates, key=header.count)
    return best if best in plain else ","
