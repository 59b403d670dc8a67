"""Stores provenance: in the record if there is room, else in one object beside the result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from cpr import io
from cpr.errors import CorruptDataError, CprError, RecordError
from cpr.io.hashing import hex16
from cpr.io.outside_json import read_json
from cpr.provenance.provenance_record import MAX_HELD, Input, Made

__all__ = ["copy_whole", "fit", "made_url", "read_whole"]

RECORD_BYTES = 730
"""What a record takes as JSON text inside of JSON, which is how Prefect keeps it, with some 250 bytes of
its own; where the URL and the options leave that much."""

_WHOLE_BYTES = 1 << 20  # of the object beside the result
_NAME_BYTES = 255


def fit(made: Made, url: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The field `made` for a record, shortened to the room that the rest of the record leaves.

    What does not fit is written beside the result first, in one small object; nothing is written
    otherwise.

    Args:
        made: what is known.
        url: of the result.
        record: the rest of the record.

    Raises ResourceNotFoundError and TransferError as `cpr.io.writing`.
    """
    room = RECORD_BYTES - _nbytes(record) - _nbytes({"made": {}})
    if made.more is not None:
        return made.to_json()
    shorter = _without_versions(made)
    # The journal has, under the digest of code, what that uses.
    shortest = dataclasses.replace(shorter, uses={}) if made.code is not None else shorter
    for less in (made, shorter, shortest, dataclasses.replace(shortest, **_ELSEWHERE)):
        fields = less.to_json()
        if _nbytes(fields) <= room:
            return fields
    text = _bounded(made)
    digest: str | None = hex16(text)
    assert digest is not None
    beside = made_url(url, digest)
    if len(io.split(beside)[1].encode("utf-8", "surrogatepass")) > _NAME_BYTES:
        digest = None  # no file system takes such a name; the object's own is nearly as long
    else:
        with io.writing(beside) as file:
            file.write(text)
    brief = dataclasses.replace(made, inputs={}, uses={}, code=None, more=digest)
    briefer = Made(task=made.task, flow_run=made.flow_run, at=made.at, more=digest)
    for less in (brief, dataclasses.replace(brief, **_ELSEWHERE), briefer):
        fields = less.to_json()
        if _nbytes(fields) <= room:
            return fields
    return Made(more=digest).to_json()


# What Prefect's record and the journal know as well.
_ELSEWHERE: dict[str, Any] = {"cpr": None, "key": None, "source": None}


def _nbytes(record: Mapping[str, Any]) -> int:
    return len(json.dumps(json.dumps(record, separators=(",", ":"))))


def _without_versions(made: Made) -> Made:
    """Provenance without the versions of sources, which their digests cover; only the details are lost."""
    inputs = {name: dataclasses.replace(one, version={}) for name, one in made.inputs.items()}
    return dataclasses.replace(made, inputs=inputs)


def _bounded(made: Made) -> bytes:
    """Provenance for the object beside a result, cut to a length that can be read back."""
    for keep in (MAX_HELD, 10, 0):
        brief = (
            made
            if keep == MAX_HELD
            else dataclasses.replace(
                made, inputs={name: _shortened(one, keep) for name, one in made.inputs.items()}
            )
        )
        text = json.dumps(brief.to_json(), separators=(",", ":"), allow_nan=False).encode()
        if len(text) <= _WHOLE_BYTES:
            return text
    brief = dataclasses.replace(made, inputs={}, uses={})
    return json.dumps(brief.to_json(), separators=(",", ":"), allow_nan=False).encode()


def _shortened(one: Input, keep: int) -> Input:
    left_out = one.left_out + max(0, len(one.holds) - keep)
    return dataclasses.replace(one, holds=one.holds[:keep], left_out=left_out)


def made_url(url: str, digest: str) -> str:
    """URL of the rest of a result's provenance; hidden from patterns that find results."""
    return io.sidecar_url(url, f".{digest}.made.json")


def read_whole(made: Made, url: str) -> Made:
    """The full provenance, read from beside the result if the record had no room for it.

    Raises:
        ResourceNotFoundError, TransferError: it cannot be read.
        CorruptDataError: it is not what was written.
        RecordError: it is not what cpr writes.
    """
    return made if made.more is None else _read(made.more, url)[0]


def _read(digest: str, url: str) -> tuple[Made, bytes]:
    """Read the object beside a result by its digest; also returns its bytes. Raises as `read_whole`."""
    beside = made_url(url, digest)
    with io.reading(beside) as file:
        text = file.read(_WHOLE_BYTES + 1)
    if len(text) > _WHOLE_BYTES or hex16(text) != digest:
        raise CorruptDataError(
            "what is known of the result's origin is not what was written",
            url=beside,
            expected=digest,
            actual=hex16(text),
            remedy="restore it; the result itself is not concerned",
        )
    try:
        whole = read_json(text)
    except ValueError as error:
        raise RecordError("not JSON", url=beside, expected="JSON", actual=str(error)[:100]) from None
    try:
        return Made.parse(whole), text
    except CprError as error:
        error.url = beside
        raise


def copy_whole(made: Made, source: str, destination: str) -> None:
    """Copy the provenance beside a result to beside another. Raises as `read_whole` and `cpr.io.writing`."""
    assert made.more is not None
    _, text = _read(made.more, source)
    with io.writing(made_url(destination, made.more)) as out:
        out.write(text)  # the very bytes that were checked
