"""Objects from one place to another, through this machine and past its digests."""

from __future__ import annotations

from cpr.errors import CorruptDataError
from cpr.io.hashing_sink import Stored
from cpr.io.objects import lookup
from cpr.io.reading import read_through, reading
from cpr.io.writing import writing

__all__ = ["copy"]

_BLOCK_BYTES = 8 << 20


def copy(source: str, destination: str, stored: Stored, is_new: bool = False) -> bool:
    """Copy an object that is known by its digest; whether it had to be, or was there already.

    What is there already is read, and believed only if it is equal. Nothing becomes visible of an object that
    is not the one that was written.

    Args:
        source: URL of the object.
        destination: URL where it is to be.
        stored: checksum and size that it must have.
        is_new: nothing is at the destination, as a listing has told: it is not asked for.

    Raises:
        CorruptDataError: the object is another one.
        ResourceNotFoundError, TransferError: as `reading` and `writing`.
    """
    algorithm = stored.checksum.partition(":")[0]
    expected = (stored.checksum, stored.nbytes)
    there = None if is_new else lookup(destination)
    equal = there is not None and there.nbytes == stored.nbytes
    if equal and read_through(destination, algorithm, stored.nbytes) == expected:
        return False
    with reading(source, algorithm, stored.nbytes) as file, writing(destination, algorithm) as out:
        out.expected = stored.nbytes
        while block := file.read(_BLOCK_BYTES):
            out.write(block)
            file.release(file.tell())
        actual = file.finish()
        if actual != expected:
            raise CorruptDataError(
                "the stored object is not the one that was written, and was not copied",
                url=source,
                expected=f"{stored.checksum} ({stored.nbytes} bytes)",
                actual=f"{actual[0]} ({actual[1]} bytes)",
                remedy="delete the object, so that its task runs again, or restore it",
            )
    return True
