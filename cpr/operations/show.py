"""Everything that is known of a result: what its record says, whether it is there, and how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from cpr import io
from cpr.errors import CprError, ResourceNotFoundError
from cpr.operations.records import Record, Reference, find_records, read_record
from cpr.previews.models import Picture, Preview
from cpr.previews.thumbnails import decode_png
from cpr.provenance.made import Made, read_whole

__all__ = ["Shown", "preview_of", "show", "shrunk"]

_KNOWN = frozenset("type location name ext key data_hash checksum nbytes blocks manifest made".split())


@dataclass(frozen=True)
class Shown:
    """One resource that a record names.

    Attributes:
        url: where it is.
        type: its record type.
        record: URL of the record.
        recorded: when that was written.
        reference: the resource as the record names it.
        data_hash, checksum, nbytes: as the record says; None for a source.
        options: what else it says: shape, dtype, resolution, compression ...
        made: how it came to be; None where the record does not tell.
        state: "there", "gone", "of another size" or "not asked", by its size alone.
        problem: what the store has answered instead.
    """

    url: str
    type: str
    record: str
    recorded: datetime
    reference: Reference = field(repr=False)
    data_hash: str | None = None
    checksum: str | None = None
    nbytes: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    made: Made | None = None
    state: str = "there"
    problem: CprError | None = None


def show(url: str, result: str | None = None) -> list[Shown]:
    """What is known of resources.

    Args:
        url: of a record; or a results URL, with `result`.
        result: URL, file name or the begin of a file name of results whose records are under the URL.

    Raises:
        ResourceNotFoundError: there is no record, or none that names such a result.
        RecordError: the record cannot be read.
        TransferError: the store refused or failed.
    """
    if result is not None:
        found = _search(url, result)
    else:
        record = read_record(url)
        if record is None:
            raise ResourceNotFoundError(
                "this object is no record",
                url=url,
                expected="a record of Prefect or cpr",
                actual="something else",
                remedy="cpr show RESULTS_URL NAME finds the record of a result, by its name or URL",
            )
        for problem in record.problems:
            raise problem
        found = [(one, record) for one in record.resources]
    return [_shown(reference, record) for reference, record in found]


def _search(url: str, result: str) -> list[tuple[Reference, Record]]:
    found: dict[str, tuple[Reference, Record]] = {}
    for record in find_records(url):
        for one in record.targets:
            wanted = one.url == result or one.file_name.startswith(result.rpartition("/")[2])
            if wanted and (one.url not in found or record.is_cache_entry):
                found[one.url] = (one, record)
    exact = [pair for name, pair in found.items() if name == result]
    if not found:
        raise ResourceNotFoundError(
            "no record here names such a result",
            url=url,
            expected=result,
            actual="other results, or none",
            remedy="cpr ls lists the results; name the place where Prefect's result storage writes",
        )
    return exact or list(found.values())


def _shown(reference: Reference, record: Record) -> Shown:
    fields = reference.fields
    made, problem = reference.made, None
    state = "not asked"
    try:
        if made is not None:
            made = read_whole(made, reference.url)
        if reference.is_target:
            state = _state(reference)
    except CprError as error:
        problem = error
    return Shown(
        reference.url,
        reference.type,
        record.url,
        record.touched,
        reference,
        fields.get("data_hash"),
        reference.checksum,
        reference.nbytes,
        {name: value for name, value in fields.items() if name not in _KNOWN},
        made,
        state,
        problem,
    )


def _state(reference: Reference) -> str:
    if "manifest" in reference.fields:
        # A folder: its class knows where to look.
        reference.load().check()  # type: ignore[attr-defined]
        return "there"
    stat = io.lookup(reference.url)
    if stat is None:
        return "gone"
    return "there" if stat.nbytes == reference.nbytes else "of another size"


def preview_of(shown: Shown) -> Preview | None:
    """A picture or the first rows of a resource; None for what has none. Raises what `get_data` raises."""
    return shown.reference.load().preview()


def shrunk(picture: Picture, width: int, height: int) -> np.ndarray[Any, Any]:
    """The pixels of a picture, (rows, columns, 3) of uint8, at most so many of them.

    Raises DecodeError for what is no PNG.
    """
    pixels = decode_png(picture.png)
    scale = min(1.0, height / pixels.shape[0], width / pixels.shape[1])
    rows, columns = (
        (np.arange(max(1, int(extent * scale))) / scale).astype(int).clip(0, extent - 1)
        for extent in pixels.shape[:2]
    )
    part: np.ndarray[Any, Any] = pixels[rows[:, None], columns]
    return part
