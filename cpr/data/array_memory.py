"""Prepares arrays for hashing and sharing: refuses masks, normalises padding, makes read-only views."""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np

from cpr.errors import EncodeError

__all__ = ["canonical", "dtype_text", "read_only", "require_text", "require_unmasked"]

Array = np.ndarray[Any, Any]


def require_unmasked(data: Any) -> None:
    """Raise EncodeError for masked arrays, alone or in lists: no file format here can hold their masks."""
    if isinstance(data, (list, tuple)):
        for item in data:
            if isinstance(item, (list, tuple, np.ndarray)) or hasattr(item, "_meta"):
                require_unmasked(item)
        return
    # Of a dask array what its blocks will be.
    if isinstance(data, np.ma.MaskedArray) or isinstance(getattr(data, "_meta", None), np.ma.MaskedArray):
        raise EncodeError(
            "a masked array would lose its mask",
            field="data",
            expected="a plain array",
            actual=f"{type(data).__module__}.{type(data).__name__}",
            remedy="fill it: numpy.ma.filled(array, 0); and store the mask as an image of its own",
        )


def canonical(array: Array) -> Array:
    """The array, or a copy with bytes normalised that are not content.

    Such bytes are the gaps between the fields of a struct and behind a `longdouble`, which become 0, and
    booleans that are neither 0 nor 1, which become 1.

    Args:
        array: C-contiguous, in native byte order.
    """
    if array.dtype == np.bool_:
        codes = array.view(np.uint8)
        return codes != 0 if codes.size and codes.max() > 1 else array
    gaps = ~_content(array.dtype) if array.dtype.kind in "Vfc" else np.zeros(0, bool)
    if not gaps.any():
        return array
    clean = array.copy()
    clean.reshape(-1).view(np.uint8).reshape(array.size, array.itemsize)[:, gaps] = 0
    return clean


@functools.lru_cache(maxsize=64)
def dtype_text(dtype: np.dtype[Any]) -> str:
    """The dtype as content hashes name it: numpy's text, but without a struct's `align`."""
    return str(_unaligned(dtype) if dtype.kind == "V" and not _content(dtype).all() else dtype)


def _unaligned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((_unaligned(base), shape))
    if dtype.names is None or dtype.fields is None:
        return dtype
    fields = [dtype.fields[name] for name in dtype.names]
    return np.dtype(
        {
            "names": list(dtype.names),
            "formats": [_unaligned(field[0]) for field in fields],
            "offsets": [field[1] for field in fields],
            "itemsize": dtype.itemsize,
        }
    )


@functools.lru_cache(maxsize=64)
def _content(dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mask of the bytes of an element that are content."""
    if dtype.subdtype is not None:
        base, _ = dtype.subdtype
        return np.tile(_content(base), dtype.itemsize // max(1, base.itemsize))
    used = np.full(dtype.itemsize, dtype.names is None)
    for name in dtype.names or ():
        assert dtype.fields is not None
        field, offset = dtype.fields[name][:2]
        used[offset : offset + field.itemsize] |= _content(field)
    if dtype.char in "gG" and np.finfo(np.longdouble).nmant == 63:
        # x87's 80 bits in 12 or 16 bytes.
        used.reshape(-1, np.dtype(np.longdouble).itemsize)[:, 10:] = False
    return used


class _Lent:
    """Exposes an array's memory as foreign memory, so that numpy cannot make it writeable again."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array
        self.__array_interface__ = {**array.__array_interface__, "typestr": f"|V{array.itemsize}"}
        del self.__array_interface__["descr"]


def read_only(data: Any) -> Any:
    """A view of an array that can never be made writeable; anything else is returned as it is."""
    if not isinstance(data, np.ndarray):
        return data
    view = data.view()
    view.flags.writeable = False
    if type(data) is not np.ndarray or data.dtype.hasobject or not data.itemsize:
        return view
    # Of a plain view numpy lets anybody take the flag away again.
    return np.asarray(_Lent(view)).view(data.dtype)


def require_text(array: np.ndarray[Any, Any]) -> None:
    """Raise ValueError for strings with invalid code points.

    numpy accepts any numbers as code points, and such strings fail wherever they are used.

    >>> require_text(np.array(["a", "b"]))
    """
    if array.dtype.names is not None:
        for name in array.dtype.names:
            require_text(array[name])
    elif array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        numbers = np.ascontiguousarray(array).view(array.dtype.byteorder.replace("|", "=") + "u4")
        if int(numbers.max()) > sys.maxunicode:
            raise ValueError(f"a character of the number {int(numbers.max())}")
