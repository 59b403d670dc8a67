"""The checks of `cpr doctor`; each is a function of a scratch folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from cpr import io
from cpr.errors import CprError
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import digest_of
from cpr.operations.doctor.conditions import check_conditions, check_digests
from cpr.operations.doctor.findings import Finding, check, diagnosed, good, poor, wrong
from cpr.operations.doctor.scratch import Scratch

__all__ = ["CHECKS", "check_delete", "check_speed"]

_LARGE = 9 << 20  # more than one part
_SKEW_POOR, _SKEW_WRONG = 30.0, 600.0  # seconds; S3 refuses 900


@check("reach")
def check_reach(place: Scratch) -> Finding:
    """Checks endpoint, credentials and bucket with a first request."""
    place.entries()
    with translate_errors(place.url, "look at"):
        place.store.require_container(place.path)
    return good("the store answers, knows the credentials and has the bucket or folder")


@check("write")
def check_write(place: Scratch) -> Finding:
    """Writes a small object and reads it back."""
    content = os.urandom(1000)
    try:
        place.put("small", content)
    except CprError as error:
        found = diagnosed("write", error)
        return replace(found, text=f"what is here can be read, but {found.text}")
    back = place.get("small", 0, len(content))
    if back != content:
        return wrong(
            f"{len(content)} bytes came back as {len(back)} others",
            "something on the way changes data: look for a proxy, a cache, or a gateway that compresses",
        )
    return good("what is written comes back")


@check("listing")
def check_listing(place: Scratch) -> Finding:
    """Checks that a listing shows what was just written, replaced and deleted."""
    stale = "use the store itself, not a cache or a replica before it"
    place.put("listed", b"1")
    if "listed" not in place.names():
        return wrong("an object is not listed right after it was written", stale)
    place.put("listed", b"22")
    found = place.stat("listed")
    if found is None or found.nbytes != 2 or place.get("listed", 0, 2) != b"22":
        return wrong("an object that was replaced is still seen as it was", stale)
    place.remove("listed")
    if place.stat("listed") is not None or "listed" in place.names():
        return wrong("an object is still seen right after it was deleted", stale)
    return good("what is written, replaced or deleted is seen at once")


@check("ranges")
def check_ranges(place: Scratch) -> Finding:
    """Reads ranges of an object, in its middle and beyond its end."""
    content = os.urandom(1000)
    place.put("ranges", content)
    middle, end = place.get("ranges", 300, 700), place.get("ranges", 900, 1100)
    if (middle, end) != (content[300:700], content[900:]):
        return wrong(
            "a part of an object comes back as something else",
            "look for a proxy or cache that ignores the Range header",
        )
    return good("parts of objects can be read")


@check("atomic writes")
def check_atomic(place: Scratch) -> Finding:
    """Checks that a multipart object is invisible until it is complete."""
    content = os.urandom(_LARGE)
    upload = place.begin("atomic")
    url, _ = place.place("atomic")
    with translate_errors(url, "write"):
        try:
            upload.write(memoryview(content))
            early = place.stat("atomic") is not None or "atomic" in place.names()
            upload.commit()
        except BaseException:
            upload.abort()
            raise
    checksum = io.read_through(url, "xxh3_128", len(content))
    if early:
        return wrong(
            "an object is seen before it is complete",
            "do not use this store for results: readers may take half a file for a whole one",
        )
    if checksum != (f"xxh3_128:{digest_of(content, 'xxh3_128').hex()}", len(content)):
        return wrong(
            "an object that was written in parts came back as another one",
            "look for a proxy that changes bodies; else report it to those who run the store",
        )
    return good("an object appears whole or not at all")


@check("abort")
def check_abort(place: Scratch) -> Finding:
    """Checks that an aborted upload leaves nothing behind."""
    upload = place.begin("aborted")
    url, _ = place.place("aborted")
    with translate_errors(url, "write"):
        upload.write(memoryview(os.urandom(_LARGE)))
    unseen = _unlisted(place)  # as long as there is one, its parts are listed too
    with translate_errors(url, "abort uploads"):
        upload.abort()
    if place.stat("aborted") is not None or "aborted" in place.names():
        return wrong("an upload that was given up has become an object", "do not use this store for results")
    if unseen is not None:
        return unseen
    if place.uploads():
        return poor(
            "an upload that was given up is still open, and takes up space",
            "add a lifecycle rule that aborts incomplete uploads after some days",
        )
    return good("an upload that is given up leaves nothing behind")


def _unlisted(place: Scratch) -> Finding | None:
    """The finding for a store on which open uploads cannot be listed."""
    try:
        place.uploads()
    except CprError as error:
        found = diagnosed("abort", error)
        text = f"whether uploads are left open cannot be seen: {found.text}"
        return replace(found, status="poor", text=text)
    return None


@check("clock")
def check_clock(place: Scratch) -> Finding:
    """Compares this machine's clock with the store's."""
    before = datetime.now(UTC)
    place.put("clock", b"now")
    found = place.stat("clock")
    after = datetime.now(UTC)
    assert found is not None
    # Stores tell whole seconds.
    ahead = (before - found.modified).total_seconds() - 1
    behind = (found.modified - after).total_seconds()
    skew = max(ahead, behind, 0.0)
    seconds = round(skew, 1)
    if skew < _SKEW_POOR:
        return good("the clocks of this machine and of the store agree", seconds=seconds)
    side = "ahead of" if ahead > 0 else "behind"
    return (wrong if skew >= _SKEW_WRONG else poor)(
        f"this machine's clock is {skew:.0f} s {side} the store's; S3 refuses requests from 900 s on, and "
        "how old a leftover is would be misjudged",
        "set this machine's clock by NTP (timedatectl set-ntp true), or the server's",
        seconds=seconds,
    )


@check("delete")
def check_delete(place: Scratch) -> Finding:
    """Checks that objects can be deleted."""
    for entry in place.entries():
        io.remove(entry.url)
    if place.entries():
        return poor(
            "objects are still there after they were deleted",
            f"a retention rule keeps them: delete {place.url} by hand when it allows",
        )
    return good("what was written can be deleted")


@check("speed")
def check_speed(place: Scratch, mib: int) -> Finding:
    """Measures how fast an object is written and read back, verified."""
    if not mib:
        return Finding("", "not tried", "not measured")
    url, _ = place.place("speed")
    block = os.urandom(1 << 20)
    started = time.perf_counter()
    with io.writing(url) as file:
        for _ in range(mib):
            file.write(block)
    written = time.perf_counter()
    io.read_through(url, "xxh3_128", mib << 20)
    read = time.perf_counter()
    place.stat("speed")
    ms = (time.perf_counter() - read) * 1e3
    out, back = (mib << 20) / (written - started) / 1e6, (mib << 20) / (read - written) / 1e6
    return good(
        f"{mib} MiB written at {out:.0f} MB/s, read and verified at {back:.0f} MB/s; "
        f"a request takes {ms:.0f} ms",
        write_MB_per_s=round(out, 1),
        read_MB_per_s=round(back, 1),
        ms=round(ms, 1),
    )


CHECKS: tuple[Callable[[Scratch], Finding], ...] = (
    check_reach,
    check_write,
    check_listing,
    check_ranges,
    check_atomic,
    check_abort,
    check_conditions,
    check_digests,
    check_clock,
)
"""In their order; the first two have to be good for the others to make sense."""
