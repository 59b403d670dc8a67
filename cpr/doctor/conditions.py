"""What S3 offers besides writing and reading: conditions on a write, and digests that the store checks."""

from __future__ import annotations

import base64
import hashlib

from cpr.doctor.findings import Finding, diagnosed
from cpr.doctor.scratch import Scratch
from cpr.errors import CprError
from cpr.io.failures import translated
from cpr.io.local import LocalStore
from cpr.io.s3 import S3Store

__all__ = ["check_conditions", "check_digests"]

_REFUSED = frozenset({"PreconditionFailed", "412", "FileExistsError", "ConditionalRequestConflict"})
_WRONG_DIGEST = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)


def check_conditions(place: Scratch) -> Finding:
    """Whether "only if there is none yet" is heeded: what locks on the bucket are made of."""
    if isinstance(place.store, LocalStore):
        return Finding("conditional writes", "good", "files of this machine are created by one writer only")
    if not isinstance(place.store, S3Store):
        return Finding("conditional writes", "not tried", "only tried on S3 and on local files")
    url, path = place.place("condition")
    bucket, _, key = path.partition("/")
    try:
        with translated(url, "write"):
            place.store.put(bucket, key, b"first", IfNoneMatch="*")
        try:
            with translated(url, "write"):
                place.store.put(bucket, key, b"second", IfNoneMatch="*")
        except CprError as error:
            if str(error.actual) in _REFUSED:
                text = "of two writers that create an object, one succeeds"
                return Finding("conditional writes", "good", text)
            raise
    except CprError as error:
        return diagnosed("conditional writes", "write objects on a condition", error)
    return Finding(
        "conditional writes",
        "wrong",
        "a condition (If-None-Match) was dropped on its way or ignored: an object was created twice",
        "talk to the store without the proxy in between, or have it pass If-None-Match and If-Match on; "
        "until then take no locks on this bucket",
    )


def check_digests(place: Scratch) -> Finding:
    """Whether the store refuses a body that is not the one that was sent."""
    if not isinstance(place.store, S3Store):
        return Finding("checksums", "not tried", "only tried on S3; cpr's own cover every store")
    url, path = place.place("digest")
    bucket, _, key = path.partition("/")
    wrong = base64.b64encode(hashlib.md5(b"another body", usedforsecurity=False).digest()).decode()
    try:
        with translated(url, "write"):
            place.store.put(bucket, key, b"a body", ContentMD5=wrong)
    except CprError as error:
        if str(error.actual) in _WRONG_DIGEST:
            return Finding("checksums", "good", "the store refuses a body that was changed on its way")
        return diagnosed("checksums", "write objects with a checksum", error)
    return Finding(
        "checksums",
        "poor",
        "the store takes a body whose checksum is wrong",
        "nothing is needed: cpr's own checksums find what was changed when it is read",
    )
