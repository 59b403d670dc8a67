"""Converts Arrow arrays from and to numpy and Python, without importing pandas.

pyarrow's own `array`, `scalar` and `to_numpy` import pandas, to see whether they were given something of
pandas: half a second, which is longer than most commands take for all else.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["column", "mask", "numbers", "scalar", "total", "values"]


def mask(of: npt.NDArray[np.bool_]) -> Any:
    """Make an array of booleans."""
    return _made(pa.bool_(), len(of), [None, _bits(of)])


def numbers(of: npt.NDArray[Any]) -> Any:
    """Make an array of numbers."""
    return _made(pa.from_numpy_dtype(of.dtype), len(of), [None, np.ascontiguousarray(of)])


def total(of: npt.NDArray[np.int64]) -> int:
    """Exact sum of sizes; numpy's has 64 bits, which two forged records can exceed.

    >>> total(np.array([2**63 - 1, 2**63 - 1])) == 2**64 - 2
    True
    """
    return (int((of >> 32).sum()) << 32) + int((of & 0xFFFFFFFF).sum())


def scalar(text: str) -> Any:
    """Make a text scalar, to compare arrays with."""
    return column([text], pa.string())[0]


def column(of: Sequence[Any], kind: Any) -> Any:
    """Make an array of texts, bytes, integers or booleans, with null for None.

    Raises UnicodeEncodeError for texts that are not Unicode, TypeError and OverflowError for other numbers.
    """
    known = np.fromiter((one is not None for one in of), np.bool_, len(of))
    nulls = None if known.all() else _bits(known)
    if pa.types.is_boolean(kind):
        return _made(kind, len(of), [nulls, _bits(np.fromiter(map(bool, of), np.bool_, len(of)))])
    if pa.types.is_integer(kind):
        # Python's arrays take nothing else for an integer.
        known_ones = of if nulls is None else [0 if one is None else one for one in of]
        return _made(kind, len(of), [nulls, array("B" if kind == pa.uint8() else "q", known_ones)])
    empty: Any = "" if kind == pa.string() else b""
    plain: Sequence[Any] = of if nulls is None else [empty if one is None else one for one in of]
    joined = empty.join(plain)
    if isinstance(joined, str):
        if not joined.isascii():
            plain = [one.encode() for one in plain]
        joined = joined.encode()
    ends = np.zeros(len(of) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, plain), np.int64, len(of)), out=ends[1:])
    if len(joined) > np.iinfo(np.int32).max:
        raise OverflowError("more than two gigabytes of text at once")
    return _made(kind, len(of), [nulls, ends.astype(np.int32), joined])


def values(of: Any, when_null: Any = 0) -> npt.NDArray[Any]:
    """The numbers or booleans of an array, or a chunked one, as read-only numpy."""
    dtype = np.dtype(np.bool_ if pa.types.is_boolean(of.type) else str(of.type))
    if not len(of):
        return np.zeros(0, dtype)
    whole = of.combine_chunks() if isinstance(of, pa.ChunkedArray) else of
    known, content = whole.buffers()
    if dtype == np.bool_:
        found = _unpacked(content, whole)
    else:
        found = np.frombuffer(content, dtype, whole.offset + len(whole))[whole.offset :]
    if whole.null_count:
        found = np.where(_unpacked(known, whole), found, dtype.type(when_null))
    return found


def _made(kind: Any, length: int, buffers: Sequence[Any]) -> Any:
    return pa.Array.from_buffers(kind, length, [one if one is None else pa.py_buffer(one) for one in buffers])


def _bits(of: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.packbits(of, bitorder="little")


def _unpacked(bits: Any, whole: Any) -> npt.NDArray[np.bool_]:
    end = whole.offset + len(whole)
    found = np.unpackbits(np.frombuffer(bits, np.uint8), count=end, bitorder="little")
    return found[whole.offset :].view(np.bool_)
