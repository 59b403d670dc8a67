"""Verifies targets by the checksums that stores keep, without reading the objects.

S3 and Google Cloud Storage compare what they receive with a checksum that comes with it, refuse what differs,
and tell that checksum later on. What it was is noted beside the object when it is written. So two small
answers say whether the object that is there is the one that was stored. What has happened to its bytes since,
on the store's disks, only reading it proves. Nor do stores' checksums stand against forgers: whoever can
write to the bucket can make another object for them, and change the note. So they vouch for no result whose
own checksum is to.
"""

from __future__ import annotations

from cpr import io
from cpr.errors import CprError
from cpr.io.hashing import is_forgery_proof
from cpr.operations.records import Reference
from cpr.verified_reading import corrupt

__all__ = ["READ_BYTES", "is_as_stored"]

READ_BYTES = 8 << 20
"""What is no larger is read: that takes one request, as asking does."""
_REPLACED = "the store has received another object than the one that was written"


def is_as_stored(reference: Reference) -> bool:
    """Whether the store confirms a target's checksum; its class need not be installed.

    False for one that is to be read: it is so small that this is as quick, or the store does not tell any
    more what it should.

    Raises CorruptDataError where the store tells of another object, CprError where it keeps no checksums,
    nobody has noted this one, or the result is to stand against forgers, ResourceNotFoundError and
    TransferError.
    """
    url, said, blocks = reference.url, reference.nbytes, reference.fields.get("blocks")
    if "manifest" in reference.fields:
        raise _untold(url, "one object", "a Zarr: of its chunks nobody has noted the store's checksums")
    assert said is not None
    expected = None if blocks is None else io.kept_store_checksum(url, said, blocks)
    if expected is None and said <= READ_BYTES:
        return False
    nbytes, actual = io.store_checksum(url)
    if nbytes != said:
        raise corrupt(url, _REPLACED, f"{said} bytes", f"{nbytes} bytes")
    if expected is None:
        found = "no note of it" if actual is not None else "none: this store keeps no checksums"
        raise _untold(url, "the checksum of the whole object, as it was noted when it was written", found)
    if actual is None or _algorithm(expected) != _algorithm(actual):
        return False
    if actual != expected:
        raise corrupt(url, _REPLACED, expected, actual)
    if is_forgery_proof(reference.checksum or ""):
        wanted = f"{_algorithm(str(reference.checksum))}, which nobody can make another object for"
        raise _untold(url, wanted, f"the {_algorithm(actual)} that was noted, which anybody can")
    return True


def _algorithm(checksum: str) -> str:
    return checksum.partition(":")[0]


def _untold(url: str, expected: str, actual: str) -> CprError:
    return CprError(
        "the store cannot vouch for this target",
        url=url,
        expected=expected,
        actual=actual,
        remedy="read it: cpr verify without --by-store",
    )
