"""The store that writes a result, and records size and digest of every object."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self
from weakref import WeakValueDictionary

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest
from zarr.storage import LocalStore

from cpr.errors import DecodeError, EncodeError, RecordError
from cpr.io.fork_safe import PerProcess
from cpr.io.hashing import default_algorithm
from cpr.io.request_threads import in_thread
from cpr.zarr.safe_encoding import encode_safely_on, is_encoded_safely
from cpr.zarr.stores.copy_unchanged import LEAST_COPIED, Earlier
from cpr.zarr.stores.manifest_entries import Entries, Entry, make_entry
from cpr.zarr.stores.url_store import UrlStore

__all__ = ["RecordingStore", "Written", "was_abandoned"]


_LAST_WRITES_SECONDS = 60
_ABANDONED_KEPT = 10_000
_NOBODY = -1  # no process has this number

_writes: PerProcess[str, int] = PerProcess()  # URL of a hierarchy -> writes that are under way
_abandoned: OrderedDict[str, None] = OrderedDict()  # URLs of attempts that failed


@dataclass
class Written:
    """The objects that were written, and the traffic.

    Attributes:
        entries: their sizes and digests.
        uploaded: bytes that were sent to the store.
        copied: bytes that the store has copied, of an earlier result.
    """

    entries: Entries = field(default_factory=dict)
    uploaded: int = 0
    copied: int = 0

    def add(self, other: Written) -> None:
        """Merge what another store has written."""
        self.entries |= other.entries
        self.uploaded += other.uploaded
        self.copied += other.copied


@dataclass(eq=False)
class _Journal:
    """The records that a recording store shares with its copies in this process."""

    written: Written = field(default_factory=Written)
    sharded: set[str] = field(default_factory=set)  # folders of arrays with shards
    leftovers: set[str] = field(default_factory=set)
    sealed: bool = False
    process: int | None = None  # the only one that may write, where others get copies of the store


# URL of a hierarchy -> what its group's copies in this process record in
_lent: WeakValueDictionary[str, _Journal] = WeakValueDictionary()


class RecordingStore(UrlStore):
    """A store that records size and digest of every object while it is uploaded.

    Only what goes through this very object is recorded: a pickled copy writes to the same place and
    records for itself.

    Args:
        url: of the hierarchy.
        read_only: refuse to write.
        algorithm: of the digests.
        earlier: result of which equal objects are copied.

    Attributes:
        notes: objects beside the hierarchy that tell what of it is done, of no use once it is published.
    """

    def __init__(
        self,
        url: str,
        read_only: bool = False,
        algorithm: str | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        super().__init__(url, read_only)
        self.algorithm = algorithm or default_algorithm()
        self.earlier = earlier
        self.notes: list[str] = []
        self._journal = _Journal()

    def _state(self) -> tuple[Any, ...]:
        return self.url, self.read_only, self.algorithm, self.earlier

    def with_read_only(self, read_only: bool = False) -> Self:
        url, _, *others = self._state()
        twin = type(self)(url, read_only, *others)
        twin._journal = self._journal  # noqa: SLF001
        return twin

    def fresh(self) -> Self:
        """A store for the same place with records of its own, like a pickled copy."""
        return type(self)(*self._state())

    @property
    def token(self) -> tuple[Any, ...]:
        """A unique name in dask graphs."""
        return self._state()

    @property
    def entries(self) -> Entries:
        """The entries of all objects."""
        return self._journal.written.entries

    @property
    def written(self) -> Written:
        """The entries of all objects, and the traffic."""
        return self._journal.written

    @property
    def leftovers(self) -> set[str]:
        """Keys of objects that a killed run left, and that count only if written again."""
        return self._journal.leftovers

    def shards_below(self, folder: str) -> None:
        """Record block digests for the shards of an array, so that parts can be verified alone."""
        self._journal.sharded.add(f"{folder}/" if folder else "")

    def lend(self) -> None:
        """Share the records with pickled copies in this process; those in others refuse to write."""
        self._journal.process = os.getpid()
        _lent[self.url] = self._journal

    def __reduce__(self) -> tuple[Any, ...]:
        if self._journal.process is None:
            return super().__reduce__()
        return _lent_copy, (type(self), self._state())

    def seal(self) -> None:
        """Refuse to write from now on."""
        self._journal.sealed = True

    def abandon(self) -> None:
        """Refuse further writes of this process to this URL, and wait for those in progress.

        Where one of several chunks fails, the others are still on their way, from other threads too.
        """
        self.seal()
        with _writes.lock:
            _abandoned[self.url] = None
            while len(_abandoned) > _ABANDONED_KEPT:
                _abandoned.popitem(last=False)
        end = time.monotonic() + _LAST_WRITES_SECONDS
        while self.url in _writes.known and time.monotonic() < end:
            time.sleep(0.005)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _writes.lock:
            self._check_writable()
            _writes.known[self.url] = _writes.known.get(self.url, 0) + 1
        try:
            yield
        finally:
            with _writes.lock:
                _writes.known[self.url] -= 1
                if not _writes.known[self.url]:
                    del _writes.known[self.url]

    def _check_writable(self) -> None:
        super()._check_writable()
        if self._journal.process not in (None, os.getpid()):
            raise RecordError(
                "this hierarchy is written by the process that made it",
                url=self.url,
                expected="the process in which create() was called",
                actual="another process, a worker of dask for one",
                remedy="write dask arrays with set_data, or in this process, with scheduler='threads'",
            )
        if self._journal.sealed or self.url in _abandoned:
            raise RecordError(
                "a stored result is never changed",
                url=self.url,
                expected="writes before persist()",
                actual="a write after it",
                remedy="make a new target and write there",
            )

    async def set(self, key: str, value: Buffer) -> None:
        if not isinstance(value, Buffer):
            raise TypeError(f"`value` must be a Buffer instance. Got an instance of {type(value)} instead.")
        if not is_encoded_safely():  # metadata, or an object that somebody puts here as it is
            value = type(value).from_bytes(value.to_bytes())
        self._require_readable(key, value)
        view = memoryview(value.as_buffer_like())
        folder, _, name = key.rpartition("/")
        if name == "zarr.json" and b"sharding_indexed" in view.tobytes():
            self.shards_below(folder)
        in_blocks = any(key.startswith(f) for f in self._journal.sharded)
        with self._writing():
            written = self._journal.written
            if self.earlier is not None and len(view) >= LEAST_COPIED:
                entry = make_entry(view, self.algorithm, in_blocks)
                if await self._copied(key, entry, view):
                    written.entries[key] = entry
                    written.copied += entry.size
                    return
            entry = await self._set_digested(key, value, lambda: make_entry(view, self.algorithm, in_blocks))
            written.entries[key] = entry
            written.uploaded += entry.size

    async def _copied(self, key: str, entry: Entry, view: memoryview) -> bool:
        """Whether the object was copied server-side from the earlier result."""
        assert self.earlier is not None
        copy = partial(self.earlier.copy, key, entry, self.algorithm, view, self._place(key))
        # In a thread of its own: as many are under way as zarr asks for.
        return await asyncio.wrap_future(in_thread(copy))

    def _require_readable(self, key: str, value: Buffer) -> None:
        """Raise EncodeError for metadata that readers would refuse as unsafe."""
        try:
            self._checked(key, value)
        except DecodeError as error:
            raise EncodeError(
                error.problem,
                url=error.url,
                field=error.field,
                expected=error.expected,
                actual=error.actual,
                remedy=error.remedy,
            ) from None

    async def get_bytes(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        entry = self.entries.get(key)
        if entry is None and key in self.leftovers:
            return None
        if entry is None or byte_range is not None:
            return await super().get_bytes(key, prototype, byte_range)
        # A chunk that is read to be changed must not bring damage along under a new digest.
        return await self._get_as_written(key, prototype, entry, self.algorithm)

    async def exists(self, key: str) -> bool:
        return (key in self.entries or key not in self.leftovers) and await super().exists(key)

    async def delete(self, key: str) -> None:
        self._check_writable()
        bare = self.bare
        if isinstance(bare, LocalStore) and await asyncio.to_thread((bare.root / key).is_dir):
            # Zarr's local store would delete all below; the others take keys for keys.
            return
        await super().delete(key)
        self.entries.pop(key, None)

    async def delete_dir(self, prefix: str) -> None:
        await super().delete_dir(prefix)
        folder = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        for key in [key for key in self.entries if key.startswith(folder)]:
            del self.entries[key]


def _lent_copy(kind: type[RecordingStore], state: tuple[Any, ...]) -> RecordingStore:
    store = kind(*state)
    store._journal = _lent.get(store.url) or _Journal(process=_NOBODY)  # noqa: SLF001 - of this module
    return store


encode_safely_on(RecordingStore)


def was_abandoned(url: str) -> bool:
    """Whether this process has given up writing to this place."""
    return url in _abandoned
