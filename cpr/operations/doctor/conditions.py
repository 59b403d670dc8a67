"""Checks of conditional writes and of checksums that S3 verifies."""

from __future__ import annotations

import base64
import hashlib

from cpr.errors import CprError, UnsupportedStoreError
from cpr.io.error_translation import translate_errors
from cpr.io.locks.compare_and_swap import require_conditional
from cpr.io.stores.base import ConditionalStore
from cpr.io.stores.s3 import S3Store
from cpr.operations.doctor.findings import Finding, check, good, poor, wrong
from cpr.operations.doctor.scratch import Scratch

__all__ = ["check_conditions", "check_digests"]

_WRONG_DIGEST = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)


@check("conditional writes")
def check_conditions(place: Scratch) -> Finding:
    """Checks that conditional writes are honoured, which locks on the bucket need."""
    try:
        require_conditional(place.url)
    except UnsupportedStoreError as error:
        if not isinstance(place.store, ConditionalStore):
            return poor(
                "this kind of store has none: equal tasks that run at the same time are computed twice",
                "put locks into a bucket of S3 or GCS, or do without",
            )
        return wrong(
            f"a condition (If-None-Match or If-Match) was dropped on its way or ignored: {error.actual}",
            "talk to the store without the proxy in between, or have it pass If-None-Match and If-Match on; "
            "until then take no locks on this bucket",
        )
    return good("of several writers at once, one succeeds and the others are told")


@check("checksums")
def check_digests(place: Scratch) -> Finding:
    """Checks that the store refuses a body that does not match its checksum."""
    if not isinstance(place.store, S3Store):
        return Finding("", "not tried", "only tried on S3; cpr's own cover every store")
    url, path = place.place("digest")
    other = base64.b64encode(hashlib.md5(b"another body", usedforsecurity=False).digest()).decode()
    try:
        with translate_errors(url, "write"):
            place.store.put_once(path, b"a body", ContentMD5=other)
    except CprError as error:
        if str(error.actual) in _WRONG_DIGEST:
            return good("the store refuses a body that was changed on its way")
        raise
    return poor(
        "the store takes a body whose checksum is wrong",
        "nothing is needed: cpr's own checksums find what was changed when it is read",
    )
