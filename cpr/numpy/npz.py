"""The format of NPZ files: zip archives of NPY files, as `numpy.savez` writes them. Read only.

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html (npz archives).
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cpr.data.array_memory import read_only
from cpr.data.memory import Expansion
from cpr.errors import DecodeError
from cpr.format import ReadableFile, Region, damaged
from cpr.numpy.npy import NPY

__all__ = ["ForeignNPY"]

_MAGIC = b"PK"


@dataclass(frozen=True)
class ForeignNPY(NPY):
    """NPY and NPZ files of any origin: an array, or a dict of arrays by name."""

    extensions: ClassVar[tuple[str, ...]] = (".npy", ".npz")

    def share(self, data: Any) -> Any:
        """A read-only view of cached data."""
        if isinstance(data, dict):
            return {name: read_only(array) for name, array in data.items()}
        return read_only(data)

    def decode(self, file: ReadableFile) -> Any:
        """Read the array, or from an NPZ file a dict of arrays. Raises DecodeError as for NPY."""
        start = file.read(2)
        file.seek(0)
        return _arrays(file) if start == _MAGIC else super().decode(file)

    def decode_region(self, file: ReadableFile, region: Region) -> np.ndarray[Any, Any]:
        """Read a region of an array. Raises DecodeError for an NPZ file."""
        start = file.read(2)
        file.seek(0)
        if start == _MAGIC:
            raise _no_parts()
        return super().decode_region(file, region)

    def pick(self, data: Any, region: Region) -> Any:
        """The part of an array in memory. Raises DecodeError for those of an NPZ file."""
        if isinstance(data, dict):
            raise _no_parts()
        return super().pick(data, region)


def _no_parts() -> DecodeError:
    remedy = 'get_data()["name"][...] reads it whole'
    return damaged("an NPZ file cannot be read in parts", "an NPY file", "a zip", remedy)


class _Member:
    """One file of a zip archive, as a file that the NPY format can decode."""

    def __init__(self, file: Any, nbytes: int) -> None:
        self._file, self._nbytes = file, nbytes
        self.read, self.readinto, self.tell = file.read, file.readinto, file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        # The end is known: no need to decompress all that lies before it.
        return self._nbytes if whence == 2 and not offset else self._file.seek(offset, whence)

    def release(self, position: int) -> None:
        """Does nothing: nothing is kept."""


def _arrays(file: Any) -> dict[str, np.ndarray[Any, Any]]:
    try:
        with zipfile.ZipFile(file) as archive:
            found: dict[str, np.ndarray[Any, Any]] = {}
            arrays = Expansion("the arrays")
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in found:  # a small file can name one array again and again
                    raise zipfile.BadZipFile("a name that occurs twice")
                with archive.open(info) as member:
                    found[name] = NPY().decode(_Member(member, info.file_size))
                arrays.grown(found[name].nbytes)
            return found
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise damaged("not an NPZ file", "a zip of NPY files", ascii(str(error))[:200]) from error
