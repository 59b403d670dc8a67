"""Text columns in Arrow memory, handled without converting each value to str."""

from __future__ import annotations

from typing import Any

import numpy as np

from cpr.errors import EncodeError

__all__ = ["ArrowTexts"]


class ArrowTexts:
    """A text column with "" for missing values; offers what an array of str offers, and the UTF-8 bytes.

    Args:
        texts: pyarrow's array of strings, whole or in chunks; they are copied.
        field: name of the column for error messages.

    Raises EncodeError for text that is not Unicode.
    """

    dtype = np.dtype(object)

    def __init__(self, texts: Any, field: str) -> None:
        import pyarrow as pa

        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
            if isinstance(texts, pa.ChunkedArray):  # earlier versions of pyarrow keep one without chunks
                texts = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], texts.type)
        # Of a missing one Arrow may keep any bytes.
        whole = texts.cast(pa.large_string()).fill_null("")
        _, offsets, data = whole.buffers()
        self._offsets = np.zeros(len(whole) + 1, np.int64)
        self._utf8 = b""
        if len(whole):
            ends = np.frombuffer(offsets, np.int64)[whole.offset : whole.offset + len(whole) + 1]
            np.subtract(ends, ends[0], out=self._offsets)
            self._utf8 = b"" if data is None else bytes(memoryview(data)[ends[0] : ends[-1]])
        self._array = self.arrow(None)
        try:
            self._array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise EncodeError(
                "text that is not UTF-8 in Arrow's memory",
                field=ascii(field)[1:-1],
                expected="text as Arrow has it, in UTF-8",
                actual=ascii(str(error))[:200],
                remedy="clean the text: texts.cast('binary') gives pyarrow's bytes, to decode with 'replace'",
            ) from None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self._array.to_numpy(zero_copy_only=False), dtype)

    def tolist(self) -> list[str]:
        """The texts as str objects."""
        found: list[str] = np.asarray(self).tolist()
        return found

    @property
    def utf8(self) -> bytes:
        """The UTF-8 bytes of all texts, concatenated."""
        return self._utf8

    def lengths(self) -> np.ndarray[Any, Any]:
        """The number of characters of each text, as int64."""
        import pyarrow.compute as pc

        return np.array(pc.utf8_length(self._array).to_numpy(), np.int64)

    def arrow(self, missing: np.ndarray[Any, Any] | None) -> Any:
        """The texts as a pyarrow array, null where missing."""
        import pyarrow as pa

        there = None if missing is None else pa.array(~missing).buffers()[1]
        buffers = pa.py_buffer(self._offsets), pa.py_buffer(self._utf8)
        return pa.LargeStringArray.from_buffers(len(self), *buffers, there)
