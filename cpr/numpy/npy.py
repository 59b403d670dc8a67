"""The NPY format: a header with shape and dtype, then the elements.

Source: NEP 1, https://numpy.org/neps/nep-0001-npy-format.html. Written in version 1.0, in C order and
native byte order; read in any order and byte order. Pickled objects are neither written nor read.
"""

from __future__ import annotations

import ast
import io
import math
import os
import struct
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cpr.data.array_memory import read_only, require_text
from cpr.data.arrays import Planes, hash_array
from cpr.data.memory import require_memory
from cpr.data.regions import Selection, ends, part_of
from cpr.errors import CprError, EncodeError
from cpr.format import ReadableFile, Region, WritableFile, damaged
from cpr.previews.models import Picture
from cpr.previews.thumbnails import PictureMaker

__all__ = ["NPY"]

_PIECE_BYTES = 8 << 20
# numpy refuses longer ones as well: they are parsed as Python literals.
_MAX_HEADER = 10_000


def _header_3(file: ReadableFile, max_header_size: int) -> tuple[Any, Any, np.dtype[Any]]:
    """Read a header of version 3.0 (UTF-8), for which numpy has no public function."""
    (size,) = struct.unpack("<I", file.read(4))
    if size > max_header_size:
        raise ValueError(f"a header of {size} bytes")
    fields = ast.literal_eval(file.read(size).decode())
    if set(fields) != {"descr", "fortran_order", "shape"} or type(fields["fortran_order"]) is not bool:
        raise ValueError("other fields than descr, fortran_order and shape")
    return tuple(fields["shape"]), fields["fortran_order"], np.lib.format.descr_to_dtype(fields["descr"])


_READERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): _header_3,
}


@dataclass(frozen=True)
class NPY:
    """The NPY format for arrays of any shape, 0-d included, and any dtype without Python objects."""

    extensions: ClassVar[tuple[str, ...]] = (".npy",)
    preview_class: ClassVar[type[Picture]] = Picture
    read_first: ClassVar[str] = "head"

    def fingerprint(self, data: np.ndarray[Any, Any]) -> str:
        """The content hash of the array (see `cpr.data.arrays`)."""
        return hash_array(data)

    def stream(self, data: Any) -> Planes:
        """The array as a stream of planes."""
        return Planes.of(data)

    def share(self, data: Any) -> Any:
        """A read-only view of a cached array."""
        return read_only(data)

    def pick(self, data: Any, region: Region) -> Any:
        """The part of an array in memory that `decode_region` would read."""
        return part_of(data, region)

    def preview_maker(self, stream: Planes) -> PictureMaker:
        """Make the object that receives the planes and makes a thumbnail of them."""
        return PictureMaker(stream.shape, stream.dtype)

    def encode(self, data: Any, file: WritableFile) -> None:
        """Write header and elements, plane by plane."""
        planes = Planes.of(data)
        file.write(_header(planes.dtype, planes.shape))
        for piece in planes.pieces():
            file.write(piece)

    def decode(self, file: ReadableFile) -> np.ndarray[Any, Any]:
        """Read the array, in native byte order and writable; memory for it is allocated once.

        Raises DecodeError for what is not an NPY file, holds objects, or is longer or shorter than
        its header says.
        """
        shape, fortran_order, dtype = _read_header(file)
        require_memory(math.prod(shape) * dtype.itemsize, "the array")
        array = np.empty(shape, dtype)
        elements = array.reshape(-1).view(np.uint8) if array.nbytes else np.empty(0, np.uint8)
        for start in range(0, array.nbytes, _PIECE_BYTES):
            piece = elements[start : start + _PIECE_BYTES]
            if _fill(file, piece.data) != piece.nbytes:
                raise damaged("the file ends early", f"{array.nbytes} bytes of elements", "fewer")
            file.release(file.tell())
        if fortran_order:
            array = array.reshape(shape[::-1]).transpose()
        return _native(array)

    def decode_region(self, file: ReadableFile, region: Region) -> np.ndarray[Any, Any]:
        """Read a region of the array; only the rows that it touches are read."""
        shape, fortran_order, dtype = _read_header(file)
        if fortran_order:
            file.seek(0)
            part: np.ndarray[Any, Any] = part_of(self.decode(file), region)
            return part
        start = file.tell()
        chosen = Selection.of(region, shape)
        extents = tuple(len(r) for r in chosen.ranges)
        require_memory(math.prod(extents) * dtype.itemsize, "this part of the array")
        result = np.empty(extents, dtype)
        if result.size:
            # Everything after the last axis that is cut lies together in the file.
            cut = [i for i, r in enumerate(chosen.ranges) if r != range(shape[i])]
            axis = cut[-1] if cut else 0
            rows = math.prod(shape[axis + 1 :])
            along = chosen.ranges[axis] if shape else range(1)
            first, last = ends(along)
            for at, position in zip(np.ndindex(*result.shape[:axis]), chosen.positions(axis), strict=True):
                offset = 0
                for extent, p in zip(shape, (*position, first), strict=False):
                    offset = offset * extent + p
                require_memory((last - first + 1) * rows * dtype.itemsize, "what lies between these elements")
                buffer = np.empty((last - first + 1, rows), dtype)
                file.seek(start + offset * rows * dtype.itemsize)
                if _fill(file, buffer.reshape(-1).view(np.uint8).data) != buffer.nbytes:
                    raise damaged("the file ends early", f"{buffer.nbytes} bytes of elements", "fewer")
                picked = buffer[np.arange(len(along)) * along.step + (along.start - first)]
                result[at] = picked.reshape(result.shape[axis:])
        return _native(result.reshape(chosen.shape))


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    try:
        np.lib.format.write_array_header_1_0(header, description)
    except (ValueError, UnicodeError) as error:
        raise _cannot_hold(dtype) from error
    if header.tell() > _MAX_HEADER:
        raise _cannot_hold(dtype)
    return header.getvalue()


def _cannot_hold(dtype: np.dtype[Any]) -> EncodeError:
    return EncodeError(
        "an NPY header cannot hold this dtype",
        field="dtype",
        expected=f"a description of up to {_MAX_HEADER} characters, names in Latin-1",
        actual=str(dtype)[:200],
        remedy="give the fields fewer or shorter names",
    )


def _read_header(file: ReadableFile) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, order and dtype; leaves the file at the first element, and checks its size."""
    try:
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise damaged("another version of the format", "1.0, 2.0 or 3.0", ".".join(map(str, version)))
        shape, fortran_order, dtype = _READERS[version](file, max_header_size=_MAX_HEADER)
    except CprError:
        raise
    except Exception as error:
        # numpy parses the header as Python literals: a damaged one fails in many ways.
        raise damaged("not an NPY file", "a magic string and a header", ascii(str(error))[:200]) from error
    if dtype.hasobject:
        raise damaged(
            "the array holds Python objects, which are never unpickled",
            "a plain dtype",
            str(dtype),
            "write it again, array.astype(float); or, if you trust who wrote it: "
            "with cpr.io.reading(url) as file: numpy.load(file, allow_pickle=True)",
        )
    if any(type(extent) is not int or extent < 0 for extent in shape):
        raise damaged("no such shape", "integers from 0 on", ascii(shape)[:200])
    if len(shape) > 64 or math.prod(extent or 1 for extent in shape) * dtype.itemsize >= 1 << 63:
        raise damaged("no such shape", "one that numpy can hold", ascii(shape)[:200])
    position = file.tell()
    there = file.seek(0, os.SEEK_END) - position
    file.seek(position)
    nbytes = math.prod(shape) * dtype.itemsize
    if there != nbytes:
        raise damaged("size and header disagree", f"{nbytes} bytes for {dtype} {shape}", f"{there} bytes")
    return shape, fortran_order, dtype


def _fill(file: ReadableFile, view: memoryview) -> int:
    """Read until the view is full or the file ends."""
    done = 0
    while done < view.nbytes:
        count = file.readinto(view[done:])
        if not count:
            break
        done += count
    return done


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    try:
        require_text(array)
    except ValueError as error:
        raise damaged("texts that are none", "characters of Unicode", str(error)) from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)
