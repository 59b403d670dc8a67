"""Describes a result: what its record says, whether it still exists, and its preview."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from cpr import io
from cpr.errors import CprError, ResourceNotFoundError
from cpr.operations.find import called, find_results, latest
from cpr.operations.records import Reference
from cpr.operations.scan import read_record
from cpr.previews.models import Picture, Preview
from cpr.previews.thumbnails import decode_png
from cpr.provenance.provenance_record import Made
from cpr.provenance.storage import read_whole
from cpr.records.record_fields import RESERVED

__all__ = ["Shown", "preview_of", "show", "shrunk"]


@dataclass(frozen=True)
class Shown:
    """A resource that a record names, with its state.

    Attributes:
        reference: the resource as the record names it.
        record: URL of the record.
        recorded: when that was written.
        made: how it came to be; None where the record does not tell.
        state: "there", "gone", "of another size" or "not asked", by its size alone.
        problem: the store's error, if it could not be asked.
    """

    reference: Reference = field(repr=False)
    record: str
    recorded: datetime
    made: Made | None = None
    state: str = "there"
    problem: CprError | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The other fields of the record: shape, dtype, resolution, compression ..."""
        return {name: value for name, value in self.reference.fields.items() if name not in RESERVED}


def show(
    url: str, result: str | None = None, on_progress: Callable[..., None] = lambda **_: None
) -> list[Shown]:
    """Describe the resources that a record, or the records under a URL, name.

    Args:
        url: of a record; or a results URL, with `result`.
        result: URL, file name or the begin of a file name of results whose records are under the URL.
        on_progress: called for each record that is read, with their `total`.

    Raises:
        ResourceNotFoundError: there is no record, or none that names such a result.
        RecordError: the record cannot be read.
        TransferError: the store refused or failed.
    """
    if result is not None:
        found = latest(called(find_results(url, on_progress), result, url)).values()
        return [_shown(one.reference, one.record, one.recorded) for one in found]
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
    return [_shown(one, record.url, record.modified) for one in record.resources]


def _shown(reference: Reference, record: str, recorded: datetime) -> Shown:
    shown = Shown(reference, record, recorded, reference.made, "not asked")
    try:
        if shown.made is not None:
            shown = replace(shown, made=read_whole(shown.made, reference.url))
        return replace(shown, state=_state(reference)) if reference.is_target else shown
    except CprError as error:
        return replace(shown, problem=error)


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
    """The preview of a resource; None if it has none. Raises what `get_data` raises."""
    return shown.reference.load().preview()


def shrunk(picture: Picture, width: int, height: int) -> np.ndarray[Any, Any]:
    """Shrink a picture to pixels (rows, columns, 3) of uint8, at most so many of them.

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
