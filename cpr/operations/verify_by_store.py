"""Verifies targets by the checksums that stores keep, without reading the objects.

S3 and Google Cloud Storage compare an upload with the checksum that is sent along, refuse it if they differ,
and report that checksum later. cpr notes it beside the object when it is written. So two small requests show
whether the object is the one that was stored. Whether its bytes have decayed since on the store's disks can
only be found out by reading it. The stores' checksums do not resist forgery either: somebody with write
access can construct another object with the same checksum, and change the note. So they are not accepted
for results with a forgery-proof checksum.
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

    Raises CorruptDataError if the store reports another checksum, CprError if it keeps none, none was noted
    when the object was written, or the result has a forgery-proof checksum, ResourceNotFoundError and
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
