"""Makes previews while data is written, stores them beside the object, and reads them again."""

from __future__ import annotations

import logging
from typing import Any

from cpr import io
from cpr.errors import CprError, DecodeError, ResourceNotFoundError
from cpr.format import PreviewMaker, Previews, Stream, supports
from cpr.previews.models import MAX_BYTES, Preview

__all__ = ["attach_preview", "make_preview", "read_preview", "store_preview"]

log = logging.getLogger("cpr")


def attach_preview(format: Any, stream: Stream[Any]) -> PreviewMaker | None:
    """Make a preview of a stream while it passes; None if the format has no previews."""
    if not supports(format, Previews):
        return None
    maker = _Harmless(format.preview_maker(stream))
    stream.on_piece = maker.take
    return maker


class _Harmless:
    """A preview maker whose errors never fail a result: it logs them and gives up."""

    def __init__(self, maker: PreviewMaker) -> None:
        self._maker: PreviewMaker | None = maker

    def take(self, piece: Any) -> None:
        if self._maker is not None:
            try:
                self._maker.take(piece)
            except Exception as error:
                self._give_up(error)

    def finish(self) -> Any:
        if self._maker is not None:
            try:
                return self._maker.finish()
            except Exception as error:
                self._give_up(error)
        return None

    def _give_up(self, error: Exception) -> None:
        self._maker = None
        log.warning("no preview could be made of a result, which is stored all the same", exc_info=error)


def make_preview(format: Any, data: Any) -> Preview | None:
    """The preview of data in memory; None if there is nothing to show."""
    if not supports(format, Previews):
        return None
    stream = format.stream(data)
    maker = attach_preview(format, stream)
    for _ in stream:
        pass
    return None if maker is None else maker.finish()


def store_preview(url: str, nbytes: int, maker: PreviewMaker | None) -> None:
    """Store a preview beside an object, unless the object is small; failures do not matter to the result."""
    if maker is None or nbytes <= io.SMALL_BYTES:
        return
    preview = maker.finish()
    if preview is None:
        return
    try:
        with io.writing(io.sidecar_url(url, preview.ending)) as file:
            file.write(preview.to_bytes())
    except CprError as error:
        log.warning("%s: stored, but not its preview: %s", url, error)


def read_preview(url: str, kind: type[Any]) -> Preview | None:
    """Read the preview beside an object; None if there is none, or a malformed one.

    Raises TransferError when the store cannot be asked.
    """
    beside = io.sidecar_url(url, kind.ending)
    try:
        if io.stat(beside).nbytes > MAX_BYTES:
            return None
        with io.reading(beside) as file:
            found: Preview = kind.from_bytes(file.read(MAX_BYTES))
    except (ResourceNotFoundError, DecodeError):
        return None
    return found
