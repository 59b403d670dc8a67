"""The base class of excerpts of a stored result, which are named by the objects that they contain."""

from __future__ import annotations

import json
from typing import Any, NoReturn, Self

from cpr import io
from cpr.errors import CorruptDataError, UsageError
from cpr.io.hashing import digest_of, hex16
from cpr.previews.models import Preview
from cpr.zarr.folder import Folder
from cpr.zarr.stores.manifest import manifest_url
from cpr.zarr.stores.verifying_store import VerifyingStore

__all__ = ["Excerpt"]


class Excerpt(Folder):
    """Some objects of a result in a folder; its record is that of the whole, with the selection."""

    _called = "region"
    _taken_by = "target.region(np.s_[:, 1])"
    _is_compared = False  # its content with what the manifest lists

    @classmethod
    def from_path(cls, path: Any, **options: Any) -> NoReturn:  # noqa: ARG003
        """Not available for excerpts of a stored Zarr: raises UsageError."""
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

    @staticmethod
    def _named(said: Any, algorithm: str) -> tuple[str, str]:
        """`data_hash` and content digest of JSON values that determine the content."""
        text = json.dumps(said, sort_keys=True).encode()
        return hex16(text), f"{algorithm}:{digest_of(text, algorithm).hex()}"

    def _require_objects(self, found: tuple[str, str]) -> None:
        """Raise CorruptDataError unless its objects are those that the record counts.

        The manifest vouches for the objects, and not for which of them the record counts with.
        """
        if self.data_hash is None:
            self.data_hash, self._content_digest = found
        expected = (self.data_hash, self._content_digest)
        if found[: 2 if self._content_digest is not None else 1] != tuple(filter(None, expected)):
            raise CorruptDataError(
                f"the objects of this {self._called} are others than its record says",
                url=self.url,
                expected=" ".join(filter(None, expected)),
                actual=" ".join(found),
                remedy="delete the record, so that its task runs again",
            )
        self._is_compared = True

    def _may_have(self, digest: str, checksum: str) -> bool:
        return digest.partition(":")[0] == checksum.partition(":")[0]

    @property
    def place(self) -> str:
        """URL of the manifest of the whole."""
        return manifest_url(self.url)

    def set_data(self, data: Any) -> NoReturn:  # noqa: ARG002
        """Not available, as excerpts are only read: raises UsageError."""
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
        """None: only the whole has a preview."""
        return None
