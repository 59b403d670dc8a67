"""CSV files that somebody else wrote, in the words of `pandas.read_csv`."""

from __future__ import annotations

import encodings.aliases
import functools
import io
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from encodings import normalize_encoding
from itertools import chain
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from cpr.csv.compression import blocks_of
from cpr.csv.rows import Body, with_row_ends
from cpr.csv.table import Compression, exact_floats, parsing, read_csv, require_separator
from cpr.data.tables import ColumnType, own_copy
from cpr.errors import FormatError
from cpr.format import ReadableFile, unusable

__all__ = ["ForeignCSV", "in_words_of_pandas"]

Label = int | str

_OPTION = "not an option of a CSV source"
_GUESSED = ",;\t|"
# Excel's first line, which says what separates cells.
_EXCEL = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=([,;\t|:])"?\r?\n')
_TYPES: dict[Any, str] = {int: "int64", float: "float64", bool: "bool", str: "str", object: "object"}


# Of host names, of nothing, and ciphers. Names that end in _codec are of bytes.
_NO_TEXT = {"idna", "punycode", "undefined", "rot_13"}


@functools.cache
def _encodings() -> frozenset[str]:
    """The names of all encodings of text that Python comes with."""
    modules = {module.name for module in pkgutil.iter_modules(encodings.__path__)} - _NO_TEXT
    modules = {name for name in modules if not name.endswith("_codec")}
    return frozenset(
        modules | {alias for alias, name in encodings.aliases.aliases.items() if name in modules}
    )


def in_words_of_pandas(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with `separator` and `index` for pandas' `sep` and `index_col`; dtypes by name.

    Raises FormatError where one thing is said twice, and for what is no dtype of a column.
    """
    found = dict(options)
    for theirs, ours in (("sep", "separator"), ("index_col", "index")):
        if theirs in found:
            if ours in options:
                raise unusable(_OPTION, theirs, f"{theirs} or {ours}", "both", "leave one of them out")
            found[ours] = found.pop(theirs)
    if isinstance(dtype := found.get("dtype"), Mapping):
        found["dtype"] = {label: _dtype_name(one) for label, one in dtype.items()}
    elif dtype is not None:
        found["dtype"] = _dtype_name(dtype)
    for name in ("index", "usecols", "parse_dates"):
        if isinstance(found.get(name), (tuple, set, frozenset, np.ndarray, pd.Index)):
            found[name] = list(found[name])
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
    """CSV files that somebody else wrote, as `pandas.read_csv` reads them, floats to the last bit.

    Attributes:
        separator: between cells (pandas' `sep`); None takes the most frequent of comma, semicolon, tab
            and bar in the first row. A first line `sep=;`, as Excel writes it, wins over None and comma.
        encoding: of the text.
        index: the column or columns of row labels, by number or name (pandas' `index_col`).
        decimal: what separates whole and parts: "." or ",".
        dtype: of all columns, or of those that are named; "Int64" keeps large numbers beside missing ones.
        usecols: the columns to read, by number or name.
        parse_dates: columns of dates, by number or name; True for the row labels.
        compression: `gzip` or None; the extension says which.
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

    def __post_init__(self) -> None:
        if self.separator is not None:
            require_separator(self.separator)
        if self.decimal not in {".", ","}:
            raise unusable(_OPTION, "decimal", "'.' or ','", self.decimal)
        if self.decimal == self.separator:
            raise unusable(
                _OPTION, "decimal", "another sign than between cells", self.decimal, "sep=';', decimal=','"
            )
        for name in [self.dtype] if isinstance(self.dtype, str) else (self.dtype or {}).values():
            _require_dtype(name)
        for field in ("index", "usecols", "parse_dates"):
            value = getattr(self, field)
            items = value if isinstance(value, list) else [value]
            if any(not isinstance(item, (bool, int, str, type(None))) for item in items):
                raise unusable(_OPTION, field, "numbers or names of columns", value)
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

    def share(self, data: pd.DataFrame) -> pd.DataFrame:
        """A copy of a frame that is kept."""
        return own_copy(data)

    def decode(self, file: ReadableFile) -> pd.DataFrame:
        """The table. Raises DecodeError for what is not CSV in this encoding and these words."""
        blocks = with_row_ends(blocks_of(file, self.compression is not None))
        separator = self.separator
        if separator in {None, ","}:
            separator, blocks = self._separator(blocks)
        body = Body(blocks)
        options = {"index_col": self.index, "usecols": self.usecols, "dtype": self.dtype}
        if self.parse_dates is not None:
            options["parse_dates"] = self.parse_dates
        with parsing(body):
            frame: pd.DataFrame = read_csv(
                io.BufferedReader(body, 1 << 18),
                sep=separator,
                encoding=self.encoding,
                decimal=self.decimal,
                engine="c",
                **options,
                **exact_floats(),
            )
            return frame

    def _separator(self, blocks: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
        """What separates cells, and the text after a line that says so."""
        start = next(blocks, b"")
        while start and start.count(b"\n") < 2 and len(start) < 1 << 16 and (more := next(blocks, b"")):
            start += more
        if (said := _EXCEL.match(start)) is not None:
            return said[1].decode(), chain([start[said.end() :]], blocks)
        if self.separator is not None:
            return self.separator, chain([start], blocks)
        with parsing():
            row = start.decode(self.encoding, "ignore").partition("\n")[0]
        return max(_GUESSED, key=re.sub(r'"[^"]*"', "", row).count), chain([start], blocks)


def _require_dtype(name: str) -> None:
    """Raise FormatError for what is no dtype that a parser of text makes columns of."""
    try:
        known = name in {"category", "int", "float"} or ColumnType.named(name).kind in {
            "number",
            "masked",
            "text",
        }
    except FormatError:
        known = False
    if not known:
        expected = "the name of a dtype of numbers, booleans or text, or 'category'"
        raise unusable(_OPTION, "dtype", expected, name, "dtype={'id': 'str'}; dates: parse_dates=['day']")
