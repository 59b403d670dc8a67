"""The base class of sources: existing files that cpr reads and never writes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Self, TypeAlias

from cpr import io
from cpr.errors import (
    CprError,
    MissingDependencyError,
    SourceChangedError,
    UnsupportedExtensionError,
    spelled,
)
from cpr.format import Previews, Region, supports
from cpr.io.version_pinning import Pinned, Version
from cpr.previews.models import Preview
from cpr.previews.storage import make_preview
from cpr.records.usage_errors import READ_ONLY, require_kind_of_file
from cpr.Resource import Resource

__all__ = ["Source", "WhenEmpty", "report_empty"]

WhenEmpty: TypeAlias = Literal["error", "warn", "ignore"]


def report_empty(pattern: str, empty: WhenEmpty) -> None:
    """Raise or warn that a normalised pattern matches nothing, as `Source.glob` does."""
    if empty not in {"error", "warn", "ignore"}:
        raise CprError(
            "no such way to treat a pattern without a match",
            field="empty",
            expected="error, warn or ignore",
            actual=spelled(empty),
            remedy="pass one of these",
        )
    if empty == "error":
        io.require_folder_of(pattern)
    if empty != "ignore":
        warnings.warn(f"nothing matches {pattern}", stacklevel=3)


class Source(Resource):
    r"""An existing file that cpr reads, in one version from the cache key to the last byte.

    The version is asked for once, by the first that needs it: a cache key, a read, `glob`. It travels to
    other processes in pickles, not in records. Every read, there or here, whole or in parts, gives that
    version or raises SourceChangedError.

    Subclasses name their format: `class MySource(Source): format_class = MyFormat`.

    >>> with cpr.io.writing("memory://docs/cells.csv") as file:
    ...     _ = file.write(b"label,area\n1,31.5\n")
    >>> cpr.CSVSource.from_path("memory://docs/cells.csv").get_data()
       label  area
    0      1  31.5
    """

    _remedies = READ_ONLY
    _version: Version | None = None
    # Whether a new cache key asks again: after a pickle, which may be old, and when another version was met.
    _is_in_doubt = False

    @classmethod
    def glob(
        cls, pattern: str | os.PathLike[str], *, empty: WhenEmpty = "error", **options: Any
    ) -> list[Self]:
        """The sources that match a pattern, sorted by URL, on any backend.

        As in a shell, a name that begins with a dot matches only where the pattern spells the dot.

        Args:
            pattern: a path or URL with `*`, `?`, `[...]` or `**`.
            empty: what to do where nothing matches: "error" raises if the folder in which the pattern begins
                does not exist, and otherwise warns; "warn" warns; "ignore" does neither.
            **options: as for `from_path`, the same for all.

        Raises:
            ResourceNotFoundError: the bucket does not exist, or, with "error", the folder does not.
            TransferError: a folder may not be listed, or the store failed.
            UnsupportedExtensionError: the pattern matches a file of another kind.
        """
        require_kind_of_file(cls, pattern, "glob")
        sources: list[Self] = []
        pattern = io.normalise(pattern)
        found = io.find_versions(pattern)
        if not found:
            report_empty(pattern, empty)
        try:
            for url, version in found.items():
                source = cls.from_path(url, **options)
                source._version = version  # noqa: SLF001
                sources.append(source)
            for source in cls._of_another_kind(sources):
                super()._split_extension(source.name, source.location)
        except (UnsupportedExtensionError, MissingDependencyError) as error:
            folder, last = io.split(pattern)
            narrow = io.join(folder, ("**/*" if last == "**" else "*") + cls.format_class.extensions[0])
            error.remedy = f"narrow the pattern: {cls.__name__}.glob({narrow!r}); or {error.remedy}"
            raise
        return sources

    @classmethod
    def _of_another_kind(cls, sources: list[Self]) -> Iterable[Self]:  # noqa: ARG003
        """The files that a pattern matches but that this class does not accept, though `from_path` does."""
        return ()

    @property
    def _data(self) -> Any:
        """The cached data, under the predecessor's name; `source._data = None` drops the cache."""
        return self._cached

    @_data.setter
    def _data(self, data: Any) -> None:
        self._cached = data

    @property
    def url(self) -> str:
        """Where the object is: a plain path for local files, else an fsspec URL."""
        return io.join(self.location, self.name + self.ext)

    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """The data, decoded from the stored object.

        Args:
            cache: hold the data until this object goes away.
            region: only this part, where the format can.

        Raises:
            ResourceNotFoundError: no such object.
            SourceChangedError: another version is there than the one that was first asked for.
            DecodeError: the object is not of this format, or damaged.
            TransferError: the store refused or failed.
        """
        if self._cached is not None:
            return self._shared(self._cached, region)
        if region is not None:
            format = self._region_reader(region)
            with self._ranged() as part:
                return self._decode(part, lambda file: format.decode_region(file, region))
        with self._pinned() as pinned, io.reading_pinned(pinned) as file:
            data = self._decode(file, self.format.decode)
        return self._keep(data) if cache else data

    @contextmanager
    def _pinned(self) -> Iterator[Pinned]:
        """The object in its recorded version, or in its present one if no version was recorded yet."""
        try:
            pinned = io.pin(self.url, self._version)
            self._version = self._version or pinned.version
            yield pinned
        except SourceChangedError:
            self._is_in_doubt = True
            raise

    @contextmanager
    def _ranged(self) -> Iterator[io.SeekableFile]:
        with self._pinned() as pinned, io.ranged_pinned(pinned) as file:
            yield file

    def preview(self) -> Preview | None:
        """A thumbnail or the first rows; small objects are read whole, of large ones only parts.

        Raises as `get_data`.
        """
        if not supports(self.format, Previews):
            return None
        if self._cached is None:
            with self._pinned() as pinned:
                is_small = pinned.nbytes <= io.SMALL_BYTES
            if not is_small:
                return self._sampled()
        return make_preview(self.format, self.get_data())

    def version(self) -> Version:
        """The version that the store reports (ETag, generation, or size and time); asked for once."""
        if self._version is None:
            self._version = self._ask()
        return self._version

    def _ask(self) -> Version:
        return io.version_now(self.url)

    def confirm_version(self) -> None:
        """Forget a version that may be outdated, so that the next key uses the present one; no I/O.

        A source that came in a pickle may have been stored long ago, one that has changed is read as it is
        now when its task is tried again.
        """
        if self._is_in_doubt:
            # With the version goes whatever was read of it.
            self.__dict__ = type(self).deserialize(self.serialize()).__dict__

    def known_version(self) -> Version:
        """The version, if the store has been asked already; no I/O."""
        return {} if self._version is None else self._version

    def identity(self) -> dict[str, Any]:
        """URL, version and options: a changed object is a changed cache key."""
        return {**self.identity_by_path(), "version": dict(self.version())}

    def identity_by_path(self) -> dict[str, Any]:
        """URL and options alone: for objects that never change, or whose changes do not matter; no I/O."""
        return {"type": self.record_type, "url": self.url, **self._format_fields()}

    @classmethod
    def _from_field(cls, value: Any) -> Self:
        # What is typed where Prefect's UI asks for a parameter.
        if not isinstance(value, (str, os.PathLike)):
            return super()._from_field(value)
        try:
            return cls.from_path(value)
        except ValueError:
            raise
        except CprError as error:
            raise ValueError(str(error)) from error  # pydantic collects ValueErrors

    def __reduce__(self) -> tuple[Any, ...]:
        if self._version is None:
            return super().__reduce__()
        return _unpickle, (type(self), self.serialize(), dict(self._version))


def _unpickle(cls: type[Source], record: Mapping[str, Any], version: Version) -> Source:
    source = cls.deserialize(record)
    source._version, source._is_in_doubt = version, True  # noqa: SLF001
    return source
