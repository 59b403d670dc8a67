"""What is some of a stored result: known by what it holds, and read from where the whole is."""

from __future__ import annotations

from typing import Any, NoReturn, Self

from cpr import io
from cpr.errors import UsageError
from cpr.previews.models import Preview
from cpr.zarr.copy import copy_all
from cpr.zarr.folder import Folder
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.verifying import VerifyingStore

__all__ = ["Excerpt"]


class Excerpt(Folder):
    """Some objects of a result in a folder: its record is that of the whole, and says which."""

    _taken_by = "target.region(np.s_[:, 1])"

    @classmethod
    def from_path(cls, path: Any, **options: Any) -> NoReturn:  # noqa: ARG003
        """Not for what is of a stored Zarr: raises UsageError."""
        raise UsageError(
            f"a {cls.__name__} is of a stored Zarr",
            url=io.normalise(path),
            expected=cls._taken_by,
            actual=f"{cls.__name__}.from_path(...)",
            remedy=f"take it of a target that cpr has written: {cls._taken_by}",
        )

    @classmethod
    def _within(cls, whole: Folder, options: Any) -> Self:
        found = cls(whole.location, whole.name, whole.ext, options)
        found._key, found.checksum = whole.key, whole.checksum
        found.nbytes, found.manifest, found.made = whole.nbytes, whole.manifest, whole.made
        return found

    @property
    def place(self) -> str:
        """Where the manifest of the whole is."""
        return manifest_url(self.url)

    def set_data(self, data: Any) -> NoReturn:  # noqa: ARG002
        """Not for what is read: raises UsageError."""
        raise UsageError(
            "some of a stored Zarr is read, never written",
            url=self.url,
            expected="get_data()",
            actual="set_data(...)",
            remedy="write a new target; parts of one that is not published yet are whole.part(region)",
        )

    def _store(self) -> VerifyingStore:
        assert self.checksum is not None and self.manifest is not None
        return VerifyingStore(self.url, self.manifest, self.checksum)

    def preview(self) -> Preview | None:
        """None: what is to be seen is the whole."""
        return None

    def _copy_objects(self, twin: Self, is_new: bool) -> None:  # noqa: ARG002
        assert self.checksum is not None and self.manifest is not None
        copy_all(Manifest(self.url, self.manifest, self.checksum), twin.url)
