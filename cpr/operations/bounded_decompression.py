"""Undoes compression and base64, layer by layer, within a limit for all layers together."""

from __future__ import annotations

import base64
import bz2
import io
import lzma
import re
import string
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "BASE64",
    "Room",
    "UnsearchableError",
    "chunks_of",
    "from_base64",
    "members",
    "opened",
    "unwrapping",
]

_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 1 << 30  # of all that is unwrapped
_TIMES = 4  # the object's size, which may be more
_MOST_ARCHIVE_BYTES = 64 << 20  # of a zip file, which is read as a whole

BASE64 = string.ascii_letters + string.digits + "+/"
"""Its digits."""

_NO_BASE64 = bytes(set(range(256)) - {*BASE64.encode(), *b"="})


class UnsearchableError(Exception):
    """The content cannot be searched: it is damaged, or encoded in an unknown way."""


class Room:
    """Limits how much is unwrapped of an object in all layers together, as archives may hold archives.

    Args:
        nbytes: the object's size.
    """

    def __init__(self, nbytes: int) -> None:
        self._left = _MOST_BYTES + _TIMES * nbytes

    def take(self, nbytes: int) -> None:
        """Count bytes. Raises UnsearchableError if they are too many."""
        self._left -= nbytes
        self.require()

    def require(self) -> None:
        """Raise UnsearchableError if the limit was exceeded before."""
        if self._left < 0:
            raise UnsearchableError(f"larger than {_MOST_BYTES} bytes when it is unwrapped")


class _Blocks(io.RawIOBase):
    """A readable file of blocks, within the limit."""

    def __init__(self, blocks: Iterator[bytes], room: Room) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")
        self._room = room

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        done = 0
        # To the full, for what begins the file is told from the first read.
        while done < len(buffer):
            if not self._block:
                block = next(self._blocks, None)
                if block is None:
                    break
                self._block = memoryview(block)
            count = min(len(buffer) - done, len(self._block))
            buffer[done : done + count] = self._block[:count]
            self._block = self._block[count:]
            done += count
        self._room.take(done)
        return done


def opened(blocks: Iterator[bytes], room: Room) -> io.BufferedReader:
    """Open blocks as a file."""
    return io.BufferedReader(_Blocks(blocks, room), _CHUNK_BYTES)


def unwrapping(head: bytes, is_text: bool) -> Callable[[io.BufferedReader], Iterator[Any]] | None:
    """The decoder of one layer of compression, detected from the first bytes; None for uncompressed data."""
    if is_text:
        return None
    if head.startswith(b"\x1f\x8b") or re.match(rb"\x78[\x01\x5e\x9c\xda]", head):
        return _inflated
    if head.startswith(b"PK\x03\x04"):
        return members
    if head.startswith(b"BZh"):
        return lambda file: chunks_of(bz2.BZ2File(file))
    if head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return lambda file: chunks_of(lzma.LZMAFile(file))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return lambda file: _with_pyarrow(file, "zstd")
    if head.startswith(b"\x04\x22\x4d\x18"):
        return lambda file: _with_pyarrow(file, "lz4")
    return None


def chunks_of(file: Any) -> Iterator[bytes]:
    """The content of a file, a megabyte at a time."""
    while chunk := file.read(_CHUNK_BYTES):
        yield bytes(chunk)


def members(file: io.BufferedReader) -> Iterator[Iterator[bytes]]:
    """The names in a zip file (such as a spreadsheet), and the content of each member."""
    content = file.read(_MOST_ARCHIVE_BYTES + 1)
    if len(content) > _MOST_ARCHIVE_BYTES:
        raise UnsearchableError(f"an archive larger than {_MOST_ARCHIVE_BYTES} bytes")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
            raise UnsearchableError(f"larger than {_MOST_BYTES} bytes")
        yield iter([" ".join(archive.namelist()).encode("utf-8", "surrogatepass")])
        for member in archive.infolist():
            with archive.open(member) as one:
                yield chunks_of(one)


def _inflated(file: io.BufferedReader) -> Iterator[bytes]:
    machine = zlib.decompressobj(wbits=47)  # of gzip or zlib
    for chunk in chunks_of(file):
        left = chunk
        while left:
            yield machine.decompress(left, _CHUNK_BYTES)
            left = machine.unconsumed_tail
            if machine.eof:
                left = machine.unused_data
                machine = zlib.decompressobj(wbits=47)
    yield machine.flush()


def _with_pyarrow(file: io.BufferedReader, name: str) -> Iterator[bytes]:
    try:
        import pyarrow as pa
    except ImportError:
        raise UnsearchableError(f"compressed by {name}, which takes pyarrow to undo") from None
    yield from chunks_of(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), name))


def from_base64(file: Any) -> Iterator[bytes]:
    """Decode the base64 in a file. Raises ValueError if it is truncated."""
    left = b""
    for chunk in chunks_of(file):
        text = left + chunk
        # Lines may end in the two characters \n, which a chunk may part.
        whole = text[:-1] if text.endswith(b"\\") else text
        digits = whole.replace(b"\\n", b"").replace(b"\\r", b"").translate(None, _NO_BASE64)
        count = len(digits) // 4 * 4
        yield base64.b64decode(digits[:count])
        left = digits[count:] + text[len(whole) :]
    if left.strip(b"\\="):
        raise ValueError("base64 that is cut")
