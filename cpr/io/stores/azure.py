"""Store for Azure Blob Storage, with adlfs's account and credentials.

adlfs's own files show a truncated object when a `with` body raises, and check nothing. Here an object is
blocks that the service compares with their digests as they arrive, and is shown when a list of them is put.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

from cpr.io.answer_checks import (
    BadAnswerError,
    PageGuard,
    SetupError,
    code_of,
    is_beyond_the_end,
    whole_number,
)
from cpr.io.clients.adlfs import AzureClient
from cpr.io.filesystems import filesystem
from cpr.io.stores.azure_upload import BlockUpload, is_refused_condition
from cpr.io.stores.base import (
    MOST_SMALL_BYTES,
    ChangedError,
    Entry,
    Stat,
    Versioned,
    age_of,
    bucket_and_key,
    folder_prefix,
)
from cpr.io.stores.glob import matching_in_bucket, names_in_bucket

__all__ = ["AzureStore"]

_NO_CONTAINER = ("ContainerNotFound", "ContainerBeingDeleted")


class AzureStore:
    """Containers of Azure; paths are `container/key`, or `container@account.host/key` if the URL says so.

    Args:
        fs: adlfs's filesystem, made in this process.
        protocol: of the URLs of listings.
    """

    # An emulator may ignore them.
    conditions_may_be_ignored = True

    def __init__(self, fs: Any, protocol: str) -> None:
        self._client = AzureClient(fs)
        self._protocol = protocol

    @classmethod
    def open(cls, url: str) -> tuple[Self, str]:
        protocol, _, path = url.partition("://")
        store = cls(filesystem(url)[0], protocol)
        # A connection string names an account as well, and adlfs would pass over the URL's.
        account = path.partition("/")[0].partition("@")[2].partition(".")[0]
        if account and account != store._client.account:
            raise SetupError("OtherAccount")
        return store, path

    def stat(self, path: str) -> Stat | None:
        try:
            found = self._client.wait(self._client.blob(*_container_and_key(path)).get_blob_properties())
        except FileNotFoundError:
            return None
        return None if _is_folder(found) else _stat(found)

    def require_container(self, path: str) -> None:
        # A HEAD's answer names a missing container too, but not where the caller may look at objects only.
        with suppress(PermissionError):
            next(self._pages(bucket_and_key(path)[0], "", most=1))

    def fetch(self, path: str, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        try:
            return self._fetch(path, start, stop)[0]
        except OSError as error:
            if is_beyond_the_end(error):
                return b""
            raise

    def can_pin(self, version: Mapping[str, str | int]) -> bool:
        """Whether the version is an ETag."""
        return "etag" in version

    def fetch_version(self, path: str, start: int, stop: int, version: Mapping[str, str | int]) -> bytes:
        """As `fetch`, for the object with this ETag, which the answer must carry too."""
        from azure.core import MatchConditions

        if stop <= start:
            return b""
        etag = str(version["etag"])
        condition = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        try:
            content, headers = self._fetch(path, start, stop, **condition)
        except OSError as error:
            if is_refused_condition(error) or is_beyond_the_end(error):
                raise ChangedError from None
            raise
        if headers.get("ETag", "").strip('"') != etag:
            raise ChangedError
        return content

    def _fetch(self, path: str, start: int, stop: int, **condition: Any) -> tuple[bytes, Mapping[str, str]]:
        request = self._client.read(*_container_and_key(path), start, stop, **condition)
        return self._client.wait(request, stop - start)

    def upload(self, path: str, create: bool = False) -> BlockUpload:
        url = f"{self._protocol}://{bucket_and_key(path)[0]}"
        return BlockUpload(self._client, url, *_container_and_key(path), create)

    def remove(self, path: str) -> None:
        self._client.wait(self._client.blob(*_container_and_key(path)).delete_blob())

    def find(self, pattern: str, hidden: bool = False) -> dict[str, Stat]:
        return matching_in_bucket(self, self._protocol, pattern, self._listed, hidden)

    def has_folder(self, path: str) -> bool:
        container, key = bucket_and_key(path)
        objects, _ = next(self._pages(container, folder_prefix(key), most=1))
        return bool(objects)

    def names_in(self, path: str) -> set[str]:
        return names_in_bucket(path, self._listed)

    def walk(self, path: str) -> Iterator[Entry]:
        container, key = bucket_and_key(path)
        for objects, _ in self._pages(container, folder_prefix(key)):
            for found in objects:
                if not found.name.endswith("/") and not _is_folder(found):
                    stat = _stat(found)
                    url = f"{self._protocol}://{container}/{found.name}"
                    yield Entry(url, stat.modified, stat.nbytes, stat.version)

    def _listed(self, container: str, prefix: str, deep: bool) -> tuple[list[tuple[str, Stat]], list[str]]:
        """All objects and folders whose names start with a prefix, over all pages."""
        objects: list[tuple[str, Stat]] = []
        folders: list[str] = []
        for found, below in self._pages(container, prefix, deep):
            objects += [(one.name, _stat(one)) for one in found if not _is_folder(one)]
            folders += below
        return objects, folders

    def _pages(
        self, container: str, prefix: str, deep: bool = True, most: int | None = None
    ) -> Iterator[tuple[list[Any], list[str]]]:
        """Pages of a listing of objects and folders. Raises FileNotFoundError for a missing container."""
        client = self._client.container(container.partition("@")[0])
        query: dict[str, Any] = {
            "name_starts_with": prefix or None,
            "include": ["metadata"],
            "results_per_page": most,
        }
        listing = client.list_blobs(**query) if deep else client.walk_blobs(**query, delimiter="/")
        pages = listing.by_page()

        async def page() -> list[Any] | None:
            try:
                return [item async for item in await pages.__anext__()]
            except StopAsyncIteration:
                return None

        guard = PageGuard()
        token: object = None
        while (items := self._client.wait(page())) is not None:
            if not all(isinstance(one.name, str) and one.name for one in items):
                raise BadAnswerError("NoName")
            objects = [one for one in items if "size" in one]
            folders = [one.name for one in items if "size" not in one]
            guard.require_other([one.name for one in objects], folders)
            yield objects, folders
            if pages.continuation_token and pages.continuation_token == token:
                raise BadAnswerError("ListingRepeats")
            token = pages.continuation_token

    def conditional(self, path: str) -> _ConditionalObject:
        """The object at a path, for conditional writes."""
        return _ConditionalObject(self._client, *_container_and_key(path))


class _ConditionalObject:
    def __init__(self, client: AzureClient, container: str, key: str) -> None:
        self._client = client
        self._where = container, key

    def read(self) -> Versioned | None:
        try:
            content, headers = self._client.wait(self._client.read(*self._where, 0, MOST_SMALL_BYTES))
        except FileNotFoundError as error:
            if code_of(error) in _NO_CONTAINER:
                raise
            return None
        return Versioned(content, _etag(headers.get("ETag")), age_of(headers))

    def write_if(self, content: bytes, version: str | None) -> str | None:
        from azure.core import MatchConditions

        condition: dict[str, Any] = {"overwrite": version is not None}
        if version is not None:
            condition |= {"etag": version, "match_condition": MatchConditions.IfNotModified}
        blob = self._client.blob(*self._where)
        try:
            answer = self._client.wait(blob.upload_blob(content, length=len(content), **condition))
        except OSError as error:
            gone = isinstance(error, FileNotFoundError) and code_of(error) not in _NO_CONTAINER
            if gone or is_refused_condition(error):
                return None
            raise
        return _etag(answer.get("etag"))


def _container_and_key(path: str) -> tuple[str, str]:
    container, key = bucket_and_key(path)
    return container.partition("@")[0], key


def _is_folder(found: Any) -> bool:
    """Whether this entry marks a folder, as in accounts with hierarchical names and from some clients."""
    return str((found.metadata or {}).get("hdi_isfolder")).lower() == "true"


def _etag(found: str | None) -> str:
    if not found:
        raise BadAnswerError("NoETag")
    return found


def _stat(found: Any) -> Stat:
    if found.size is None or found.last_modified is None:
        raise BadAnswerError("NotAnObject")
    return Stat(whole_number(found.size), {"etag": _etag(found.etag).strip('"')}, found.last_modified)
