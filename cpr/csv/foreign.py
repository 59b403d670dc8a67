"""The format of CSV files that cpr did not write, with the options of `pandas.read_csv`."""

from __future__ import annotations

import encodings.aliases
import functools
import inspect
import io
import pkgutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from encodings import normalize_encoding
from itertools import chain
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from cpr.csv.compression import blocks_of
from cpr.csv.rows import Body, with_row_ends
from cpr.csv.separators import first_rows, guessed, require_foreign_separator
from cpr.csv.table import PARSER_ERRORS, Compression, exact_floats, read_csv
from cpr.data.tables import ColumnType, own_copy
from cpr.errors import CprError, FormatError
from cpr.format import ReadableFile, damaged, unusable

__all__ = ["ForeignCSV", "in_words_of_pandas"]

Label = int | str

_OPTION = "not an option of a CSV source"
# As many lines as the separator is guessed from.
_START_LINES, _START_BYTES = 60, 1 << 16
_FEW_LINES = 100_000
_TYPES: dict[Any, str] = {int: "int64", float: "float64", bool: "bool", str: "str", object: "object"}


# Of host names, of nothing, and ciphers. Names that end in _codec are of bytes.
_NO_TEXT = {"idna", "punycode", "undefined", "rot_13"}


@functools.cache
def _encodings() -> frozenset[str]:
    """The names of all text encodings that Python includes."""
    modules = {module.name for module in pkgutil.iter_modules(encodings.__path__)} - _NO_TEXT
    modules = {name for name in modules if not name.endswith("_codec")}
    return frozenset(
        modules | {alias for alias, name in encodings.aliases.aliases.items() if name in modules}
    )


def in_words_of_pandas(options: Mapping[str, Any]) -> dict[str, Any]:
    """Rename pandas' `sep` and `index_col` to `separator` and `index`, and dtypes to their names.

    Raises FormatError where one thing is said twice, and for what is no dtype of a column.
    """
    found = dict(options)
    known = set(inspect.signature(pd.read_csv).parameters)
    own = {field.name for field in fields(ForeignCSV)} | {"sep", "index_col"}
    for word in sorted(known.intersection(options) - own):
        said = f"{word}={options[word]!r}"[:80]
        remedy = f"with cpr.io.reading(source.url) as file: pandas.read_csv(file, {said})"
        raise unusable(_OPTION, word, f"one of {', '.join(sorted(own))}", options[word], remedy)
    for theirs, ours in (("sep", "separator"), ("index_col", "index")):
        if theirs in found:
            if ours in options:
                raise unusable(_OPTION, theirs, f"{theirs} or {ours}", "both", "leave one of them out")
            found[ours] = found.pop(theirs)
    if isinstance(dtype := found.get("dtype"), Mapping):
        found["dtype"] = {label: _dtype_name(one) for label, one in dtype.items()}
    elif dtype is not None:
        found["dtype"] = _dtype_name(dtype)
    for name in ("index", "usecols", "parse_dates", "names", "na_values"):
        value = found.get(name)
        if isinstance(value, (tuple, np.ndarray, pd.Index)):
            found[name] = list(value)
        elif isinstance(value, (set, frozenset)) and name != "names":
            # In one order, whatever the process: it counts in cache keys.
            found[name] = sorted(value, key=str)
    return found


def _dtype_name(dtype: Any) -> str:
    if isinstance(dtype, type) and dtype in _TYPES:
        return _TYPES[dtype]
    if isinstance(dtype, type) and issubclass(dtype, np.generic):
        return np.dtype(dtype).name
    if isinstance(dtype, pd.CategoricalDtype) and dtype.categories is not None:
        remedy = "dtype='category', and set_categories afterwards"
        raise unusable(_OPTION, "dtype", "a category without its values", dtype, remedy)
    return str(dtype)


@dataclass(frozen=True)
class ForeignCSV:
    r"""CSV files of any origin, as `pandas.read_csv` reads them, with exact floats.

    Attributes:
        separator: between cells (pandas' `sep`); `" "` and `r"\s+"` for blanks; None takes the one of comma,
            semicolon, tab and bar that the first rows agree on. A first line `sep=;`, as Excel writes it, is
            not a row, and decides instead of None and comma.
        encoding: of the text.
        index: the column or columns of row labels, by number or name (pandas' `index_col`).
        decimal: the decimal sign, "." or ",".
        dtype: of all columns, or of those that are named; "Int64" keeps large numbers beside missing ones.
        usecols: the columns to read, by number or name.
        parse_dates: columns of dates, by number or name; True for the row labels.
        compression: `gzip` or None; the extension says which.
        header: the number of the row that names the columns; None where there is none.
        names: of the columns; the first row then holds cells, unless `header=0` replaces it.
        skiprows: how many lines before the header to skip.
        comment: the character after which the rest of a line is a comment.
        thousands: the thousands separator.
        na_values: further spellings of a missing value.
        keep_default_na: whether "NA", "null" and the like are missing values too.
        quotechar: the character around cells that contain separators.
    """

    extensions: ClassVar[tuple[str, ...]] = (".csv", ".csv.gz", ".tsv", ".tsv.gz")

    separator: str | None = ","
    encoding: str = "utf-8"
    index: bool | Label | list[Label] | None = None
    compression: Compression | None = None
    decimal: str = "."
    dtype: str | dict[str, str] | None = None
    usecols: list[Label] | None = None
    parse_dates: bool | list[Label] | None = None
    header: int | Literal["infer"] | None = "infer"
    names: list[str] | None = None
    skiprows: int = 0
    comment: str | None = None
    thousands: str | None = None
    na_values: str | list[str] | None = None
    keep_default_na: bool = True
    quotechar: str = '"'

    def __post_init__(self) -> None:
        if self.separator is not None:
            require_foreign_separator(self.separator)
        self._require_signs()
        for name in [self.dtype] if isinstance(self.dtype, str) else (self.dtype or {}).values():
            _require_dtype(name)
        for field in ("index", "usecols", "parse_dates"):
            value = getattr(self, field)
            items = value if isinstance(value, list) else [value]
            if any(not isinstance(item, (bool, int, str, type(None))) for item in items):
                raise unusable(_OPTION, field, "numbers or names of columns", value)
        for field in ("names", "na_values"):
            value = getattr(self, field)
            items = value if isinstance(value, list) else [] if value is None else [value]
            if any(not isinstance(item, str) for item in items) or (field == "names" and value == []):
                raise unusable(_OPTION, field, "texts", value, f"{field}=['a', 'b']")
        for field, known in (("skiprows", ()), ("header", ("infer", None))):
            value = getattr(self, field)
            if value not in known and not (type(value) is int and value >= 0):
                raise unusable(_OPTION, field, "a number of lines", value, f"{field}=1")
        try:
            # Of an unknown one Python would look for a module.
            if normalize_encoding(self.encoding).lower() not in _encodings():
                raise LookupError(self.encoding)
            "".encode(self.encoding)
        except LookupError as error:
            expected = "one that Python knows, such as 'utf-8', 'latin-1' or 'utf-16'"
            raise unusable(
                "no such encoding", "encoding", expected, self.encoding, "correct its spelling"
            ) from error

    def _require_signs(self) -> None:
        """Raise FormatError for special characters that are invalid or used twice."""
        if self.decimal not in {".", ","}:
            raise unusable(_OPTION, "decimal", "'.' or ','", self.decimal)
        if self.decimal == self.separator:
            raise unusable(
                _OPTION, "decimal", "another sign than between cells", self.decimal, "sep=';', decimal=','"
            )
        meant = {self.separator: "separator", self.decimal: "decimal"}
        for field in ("thousands", "comment", "quotechar"):
            sign = getattr(self, field)
            if sign is None and field != "quotechar":
                continue
            if not isinstance(sign, str) or len(sign) != 1 or not sign.isascii() or sign in "\r\n\0":
                raise unusable(_OPTION, field, "one ASCII character", sign)
            # Numbers with thousands between the separators are in quotes.
            if sign in meant and (field, meant[sign]) != ("thousands", "separator"):
                remedy = f"leave out {field}= or {meant[sign]}="
                raise unusable(_OPTION, field, f"another sign than {meant[sign]}", sign, remedy)
            meant.setdefault(sign, field)

    def share(self, data: pd.DataFrame) -> pd.DataFrame:
        """A copy of a cached frame."""
        return own_copy(data)

    def decode(self, file: ReadableFile) -> pd.DataFrame:
        """Read the table. Raises DecodeError for text that is not CSV in this encoding and these words."""
        blocks = with_row_ends(blocks_of(file, self.compression is not None))
        separator, skipped, blocks = self._separator(blocks)
        body = Body(blocks)
        # Only what was said: pandas tells some defaults from the same words said aloud.
        said = {name: value for name in _PASSED if (value := getattr(self, name)) != _DEFAULTS[name]}
        with _parsing(body):
            frame: pd.DataFrame = read_csv(
                io.BufferedReader(body, 1 << 18),
                sep=separator,
                # Of a number pandas makes a set of all numbers below it.
                skiprows=skipped if skipped < _FEW_LINES else lambda line: line < skipped,
                index_col=self.index,
                engine="c",
                **said,
                **exact_floats(),
            )
            return frame

    def _separator(self, blocks: Iterator[bytes]) -> tuple[str, int, Iterator[bytes]]:
        """The separator, how many lines to skip, and the text."""
        start = next(blocks, b"")
        while start.count(b"\n") < _START_LINES + self.skiprows and len(start) < _START_BYTES:
            if not (more := next(blocks, b"")):
                break
            start += more
        with _parsing():
            first = first_rows(start[: _START_BYTES << 1], self.encoding)
        blocks = chain([start], blocks)
        # Users who count the lines before the header include that one.
        counted = self.skiprows > 0 or self.header not in {"infer", 0, None}
        skipped = self.skiprows + (first.said is not None and not counted)
        if first.said is not None and self.separator in {None, ","}:
            return first.said, skipped, blocks
        if self.separator is not None:
            return self.separator, skipped, blocks
        found = guessed(first.rows, self.quotechar, self.comment, self.skiprows, self.decimal)
        return found, skipped, blocks


@contextmanager
def _parsing(body: Body | None = None) -> Iterator[None]:
    """Convert errors of pandas' parser to DecodeErrors with advice."""
    try:
        yield
    except CprError:
        raise
    except PARSER_ERRORS as error:
        if body is not None and body.failure is not None:
            raise body.failure from None
        remedy = "correct or leave out options that the columns do not fit (dtype=, usecols=, index_col= ...)"
        if isinstance(error, UnicodeError):
            remedy = "say what the text is: encoding='latin-1', or 'utf-16'"
        elif isinstance(error, pd.errors.EmptyDataError):
            remedy = "restore the file; where it may be empty, name the columns: names=['a', 'b']"
        elif "tokenizing" in str(error):
            remedy = (
                "say what is between cells: sep=';', or sep=None, which guesses; "
                "where rows are of several lengths, name all columns: names=['a', 'b', 'c'], skiprows=1"
            )
        actual = f"{type(error).__name__}: {str(error)!a}"
        raise damaged("not a CSV file of this kind", "rows of cells", actual, remedy) from error


_DEFAULTS = {field.name: field.default for field in fields(ForeignCSV)}
_PASSED = set(_DEFAULTS) - {"separator", "index", "compression", "skiprows"}


def _require_dtype(name: str) -> None:
    """Raise FormatError for a dtype that cannot be parsed from text."""
    if name in {"category", "int", "float"}:
        return
    try:
        column = ColumnType.named(name)
        known = column.kind in {"number", "masked", "text"} and column.own is None
    except FormatError:
        known = False
    if not known:
        expected = "the name of a dtype of numbers, booleans or text, or 'category'"
        raise unusable(_OPTION, "dtype", expected, name, "dtype={'id': 'str'}; dates: parse_dates=['day']")
