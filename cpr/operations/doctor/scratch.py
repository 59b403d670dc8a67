"""A scratch folder on the examined store, and the requests made in it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cpr import io
from cpr.errors import CprError
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store
from cpr.io.stores.base import Entry, Stat, Store, Upload, UploadListingStore
from cpr.io.timeouts import cleaning_up
from cpr.io.urls import protocol_of

__all__ = ["Scratch", "scratch"]


@dataclass
class Scratch:
    """A folder on an open store that nobody else uses.

    Attributes:
        url: of the folder.
        store: the store that contains the folder.
        path: the folder's, as the store has it.
    """

    url: str
    store: Store
    path: str

    def place(self, name: str) -> tuple[str, str]:
        """URL and path of an object."""
        url = io.join(self.url, name)
        return url, open_store(url)[1]

    def put(self, name: str, content: bytes) -> None:
        """Write an object in one piece."""
        upload = self.begin(name)
        with translate_errors(self.place(name)[0], "write"):
            try:
                upload.write(memoryview(content))
                upload.commit()
            except BaseException:
                upload.abort()
                raise

    def begin(self, name: str) -> Upload:
        """Begin an upload."""
        url, path = self.place(name)
        with translate_errors(url, "write"):
            return self.store.upload(path)

    def get(self, name: str, start: int, stop: int) -> bytes:
        """Read a range of an object."""
        url, path = self.place(name)
        with translate_errors(url, "read"):
            return bytes(self.store.fetch(path, start, stop))

    def stat(self, name: str) -> Stat | None:
        """Size and version of an object; None if there is none."""
        url, path = self.place(name)
        with translate_errors(url, "look at"):
            return self.store.stat(path)

    def remove(self, name: str) -> None:
        """Delete an object."""
        io.remove(self.place(name)[0])

    def entries(self) -> list[Entry]:
        """All entries of a listing."""
        with translate_errors(self.url, "list"):
            return list(self.store.walk(self.path))

    def names(self) -> set[str]:
        """Names of the visible objects, without temporary files."""
        names = {io.split(entry.url)[1] for entry in self.entries()}
        return {name for name in names if not name.startswith(".")}

    def uploads(self) -> list[str]:
        """Ids of the open uploads."""
        if not isinstance(self.store, UploadListingStore):
            return []
        with translate_errors(self.url, "list uploads"):
            return [upload for _, upload in self.store.uploads(self.path)]


@contextmanager
def scratch(url: str) -> Iterator[Scratch]:
    """Make a folder under a URL, which is deleted with its content when the block is left."""
    folder = io.join(io.normalise(url), f"cpr-doctor-{secrets.token_hex(8)}")
    with translate_errors(url, "open"):
        store, path = open_store(folder)
    place = Scratch(folder, store, path)
    try:
        yield place
    finally:
        # Where that is not allowed a check has said so.
        with cleaning_up(), suppress(CprError):
            for entry in place.entries():
                with suppress(CprError):
                    io.remove(entry.url)
            if isinstance(store, UploadListingStore):
                with translate_errors(url, "list uploads"):
                    left = list(store.uploads(path))
                for entry, upload in left:
                    with suppress(CprError), translate_errors(entry.url, "abort uploads"):
                        store.abort_upload(open_store(entry.url)[1], upload)
        if protocol_of(folder) == "file":
            shutil.rmtree(folder, ignore_errors=True)  # what is left of it are empty folders
