"""Converts column values to CSV cells and back.

Ordinary CSV (RFC 4180), so that every program opens it; what it leaves open is decided here:

    missing             nothing between the separators
    an empty string     "" (as PostgreSQL writes it, and as R's fread, DuckDB and Arrow read it)
    floats              the shortest text that gives the same bits again
    datetimes           ISO 8601 in UTC, all digits of the column's unit: 2026-01-01 12:00:00.000000Z
    timedeltas          seconds, all digits of the unit: 93784.000001
    NUL in a text       ␛0, because no reader takes it; ␛ itself is ␛␛
    one column only     a missing value is "" (an empty line would be skipped), an empty string ␛e

For the CSV files that cpr writes, whose dtypes their records have; `cpr.csv.foreign` reads those of others.
Plain numbers are left to pandas' parser (`cpr.csv.table`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from cpr.data.tables import ColumnType, Values
from cpr.data.tables.columns import Array
from cpr.data.tables.values import category_values, recoded

__all__ = ["EMPTY", "ESCAPE", "cells", "quoted", "values_from_texts"]

ESCAPE = "\u241b"
EMPTY = ESCAPE + "e"
"""Stands for an empty string, distinct from a missing value, when cells are read."""

_BLANKS = " \t"
_UNESCAPED = {"␛␛": ESCAPE, "␛0": "\0"}
_ESCAPED = re.compile(f"{ESCAPE}[{ESCAPE}0]")
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_NAT = np.iinfo(np.int64).min
_ISO = re.compile(r"-?\d{3,}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?")
_TRUTH = {"True": True, "False": False, "TRUE": True, "FALSE": False, "true": True, "false": False}


def cells(values: Values, column: ColumnType, separator: str, alone: bool) -> list[str]:
    """The cells of a column, quoted where necessary; `alone` if it is the only column."""
    nothing, empty = ('""', EMPTY) if alone else ("", '""')
    data, missing = values
    if column.kind == "category":
        assert column.of is not None
        # Code -1, a missing value, is the last entry of the table.
        table = np.array(
            [*cells(category_values(column), column.of, separator, alone), nothing], dtype=object
        )
        found: list[str] = table[data].tolist()
        return found
    if column.kind == "text":
        texts = quoted(data.tolist(), separator)
        if "" in texts:
            texts = [text or empty for text in texts]
    else:
        texts = _plain_texts(data, column)
        if column.kind == "number" and data.dtype.kind == "f":
            nan = np.isnan(data)
            missing = nan if nan.any() else None
    if missing is not None:
        table = np.array(texts, dtype=object)
        table[missing] = nothing
        texts = table.tolist()
    return texts


def quoted(texts: list[str], separator: str) -> list[str]:
    """Quote texts that a reader would otherwise misread."""
    joined = "\n" + "\n\n".join(texts) + "\n"
    if "\0" in joined or ESCAPE in joined:
        texts = [text.replace(ESCAPE, ESCAPE * 2).replace("\0", f"{ESCAPE}0") for text in texts]
        joined = "\n" + "\n\n".join(texts) + "\n"
    edges = any(f"\n{blank}" in joined or f"{blank}\n" in joined for blank in _BLANKS)
    lines = joined.count("\n") != 2 * len(texts) + (not texts) * 2
    if not (edges or lines or '"' in joined or separator in joined or "\r" in joined):
        return texts
    special = re.compile(f'[{re.escape(separator)}"\r\n]|^[{_BLANKS}]|[{_BLANKS}]$')
    return [_in_quotes(text) if special.search(text) else text for text in texts]


def _in_quotes(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _plain_texts(data: Array, column: ColumnType) -> list[str]:
    if column.kind == "datetime":
        return _datetimes(data, column)
    if column.kind == "duration":
        return _seconds(data, _DIGITS[column.unit])
    if data.dtype.kind != "f":
        return list(map(str, data.tolist()))
    if data.dtype == np.float64:
        return list(map(repr, data.tolist()))
    # The shortest text of a narrow float. Where reading it as a double and rounding that gives another
    # one (a short decimal may lie that close to the middle of two), the double's own digits.
    texts = data.astype("U")
    with np.errstate(over="ignore"):
        again = texts.astype(np.float64).astype(data.dtype)
    wrong = np.flatnonzero((again != data) & ~np.isnan(data))
    found: list[str] = texts.tolist()
    for i in wrong.tolist():
        found[i] = repr(float(data[i]))
    return found


def _datetimes(counts: Array, column: ColumnType) -> list[str]:
    times = counts.view(f"M8[{column.unit}]")
    width = 19 + (_DIGITS[column.unit] and _DIGITS[column.unit] + 1)
    texts = np.datetime_as_string(times)
    if texts.size and texts.dtype.itemsize >= 4 * width:
        # Excel and pandas write a blank, where years have four digits; R, pandas and numpy read both.
        letters = texts.view("U1").reshape(len(texts), -1)
        letters[letters[:, 10] == "T", 10] = " "
    zone = "" if column.zone is None else "Z"
    return [text + zone for text in texts.tolist()] if zone else texts.tolist()


def _seconds(counts: Array, digits: int) -> list[str]:
    if not digits:
        return list(map(str, counts.tolist()))
    texts = []
    for count in counts.tolist():
        sign, text = "-" if count < 0 else "", str(abs(count)).rjust(digits + 1, "0")
        texts.append(f"{sign}{text[:-digits]}.{text[-digits:]}")
    return texts


def values_from_texts(texts: Sequence[Any], missing: Array, column: ColumnType) -> Values:
    """Parse the unquoted cells of a column. Raises ValueError or OverflowError for invalid ones.

    Args:
        texts: strings; anything where the cell is missing.
        missing: True where the cell is.
        column: type of the column.
    """
    absent = missing if missing.any() else None
    given = list(texts)
    if absent is not None:
        given = [text for text, gone in zip(texts, missing.tolist(), strict=True) if not gone]
    if column.kind == "text":
        data = np.empty(len(missing), object)
        data[:] = ""
        data[~missing] = _unescaped(given)
        return Values(data, absent)
    if column.kind == "number" and absent is not None and column.numpy.kind != "f":
        raise ValueError(f"a missing value in a column of {column.name}")
    filler: Any = {"f": np.nan, "b": False}.get(column.numpy.kind, 0) if column.kind == "number" else 0
    data = np.full(len(missing), filler, column.numpy)
    if column.kind in {"datetime", "duration"}:
        data[missing] = _NAT
    if given:
        data[~missing] = _parsed(given, column)
    return Values(data, absent if column.kind != "number" else None)


def _parsed(texts: list[str], column: ColumnType) -> Array:
    if column.kind == "datetime":
        if column.zone is not None:
            if any(not text.endswith("Z") for text in texts):
                raise ValueError("a datetime that is not in UTC")
            texts = [text[:-1] for text in texts]
        if not all(map(_ISO.fullmatch, texts)):
            # numpy would take "now", and other zones.
            raise ValueError("a datetime that is not ISO 8601 without a zone")
        return np.array(texts, dtype=f"M8[{column.unit}]").view(np.int64)
    if column.kind == "duration":
        return np.array([_count(text, _DIGITS[column.unit]) for text in texts], dtype=np.int64)
    kind = column.numpy.kind
    if kind == "b":
        if unknown := set(texts) - set(_TRUTH):
            raise ValueError(f"no truth value: {ascii(min(unknown))[:50]}")
        return np.array([_TRUTH[text] for text in texts])
    if kind == "f":
        with np.errstate(over="ignore"):
            return np.array(list(map(float, texts))).astype(column.numpy)
    return np.array(list(map(int, texts)), dtype=column.numpy)


def _count(text: str, digits: int) -> int:
    whole, _, rest = text.partition(".")
    if len(rest) > digits and rest[digits:].strip("0"):
        raise ValueError(f"more digits than the unit has: {ascii(text)[:50]}")
    return int(whole + rest[:digits].ljust(digits, "0"))


def codes_of(texts: Sequence[Any], codes: Array, column: ColumnType) -> Values:
    """Map codes into the categories found in a file to codes into the recorded categories.

    Raises ValueError for a cell that is no category.
    """
    assert column.of is not None
    return recoded(values_from_texts(texts, np.zeros(len(texts), bool), column.of), codes, column)


def _unescaped(texts: list[str]) -> list[str]:
    if ESCAPE not in "".join(texts):
        return texts
    return ["" if text == EMPTY else _ESCAPED.sub(lambda m: _UNESCAPED[m[0]], text) for text in texts]
