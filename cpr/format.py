"""The protocol of a format: how data is fingerprinted, encoded and decoded, wherever it is stored.

A format is a frozen dataclass. Its fields are all there is to know for encoding and decoding
besides the data itself, options (`compression="zlib"`) and description (`shape=(3, 4)`) alike:
they are written into the record, validated against their annotations when a record is read,
and hashed into the object's name; a class attribute `recorded` may list fewer of them. Three
methods do the work:

    fingerprint(data) -> str    names the content; equal data gives equal text, whatever the options
    encode(data, file)          writes data to a forward-only binary file (write() only)
    decode(file) -> data        reads it back from a seekable binary file

A format needs nothing more. It announces further abilities by having the method of one of the small
protocols below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Generic, Protocol, Self, TypeGuard, TypeVar, runtime_checkable

from cpr.errors import CprError, DecodeError, FormatError, spelled

__all__ = [
    "Describes",
    "Format",
    "Picks",
    "PreviewMaker",
    "Previews",
    "ReadableFile",
    "Region",
    "RegionReader",
    "Shares",
    "Stream",
    "Streams",
    "WritableFile",
    "damaged",
    "hold_ahead",
    "naming",
    "supports",
    "unusable",
]

T = TypeVar("T")
P = TypeVar("P")

Index = int | slice
Region = Index | tuple[Index, ...]
"""Part of an array as numpy's basic indexing writes it (`np.s_[3, 10:20]`): integers drop their axis."""


class WritableFile(Protocol):
    """The file that a format writes to: forward only; nothing is visible until all of it is written."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int: ...


class ReadableFile(Protocol):
    """The file that a format reads from: seekable; bytes are fetched, hashed and counted in the background.

    `release(position)` is a promise not to read anything before `position` again, so that its
    memory is freed; with a decoder that never calls it the whole encoded object is kept.
    """

    def read(self, size: int = -1, /) -> bytes: ...
    def readinto(self, buffer: Any, /) -> int: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def release(self, position: int, /) -> None: ...


def expect_reads(file: ReadableFile, ranges: Iterable[tuple[int, int]]) -> None:
    """Announce the byte ranges that are read next, in order, so that a remote file fetches them in parallel.

    A hint and no more; files that can do nothing with it have no `expect`.
    """
    if (expect := getattr(file, "expect", None)) is not None:
        expect(ranges)


def expect_end(file: ReadableFile, nbytes: int) -> None:
    """Announce that the end of the file is read first; only a hint."""
    if (fetch_end := getattr(file, "fetch_end", None)) is not None:
        fetch_end(nbytes)


def hold_ahead(file: ReadableFile, nbytes: int) -> None:
    """Limit how many bytes of a remote file are prefetched; a hint, for when decoding takes much memory."""
    if (hold := getattr(file, "hold_ahead", None)) is not None:
        hold(nbytes)


class Format(Protocol):
    """What every format implements: a frozen dataclass with these three methods.

    `extensions` lists the file name endings the format answers to, lower-case with the dot, its
    preferred one first. If the format has no longer digest of the content, the checksum of the encoded bytes
    counts in cache keys beside `fingerprint`. The class attribute `encodes_alike = False` says that `encode`
    may write equal data as different bytes (say, with a timestamp), so that only the fingerprint counts.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    extensions: ClassVar[tuple[str, ...]]

    def fingerprint(self, data: Any) -> str:
        """Name the content: equal for equal data, whatever its memory layout or the options."""

    def encode(self, data: Any, file: WritableFile) -> None:
        """Write data to a file. Raises EncodeError, if possible before anything is written."""

    def decode(self, file: ReadableFile) -> Any:
        """Read data from a file. Raises DecodeError for bytes that are not of this format."""


@runtime_checkable
class Describes(Format, Protocol):
    """A format with fields that are filled from the data (shape, dtype, columns)."""

    def describe(self, data: Any) -> Self:
        """Return this format with the fields filled from the data. Raises EncodeError for unsuitable data."""


@runtime_checkable
class Streams(Format, Protocol):
    """A format that encodes piece by piece: `encode` then takes what `stream` returns."""

    def stream(self, data: Any) -> Stream[Any]:
        """Return the data as a stream of pieces, fingerprinted while `encode` consumes them."""


@runtime_checkable
class RegionReader(Format, Protocol):
    """A format that can read a region of the data without reading the whole object.

    One that finds everything from the beginning of its files says so by an attribute of the class,
    `read_first = "head"`: their ends are then not fetched with it.
    """

    def decode_region(self, file: ReadableFile, region: Region) -> Any:
        """Read the region of the data that a basic numpy index selects."""


@runtime_checkable
class Picks(RegionReader, Protocol):
    """A format that says what a region is of data in memory; of others it is what indexing gives."""

    def pick(self, data: Any, region: Region) -> Any:
        """The part of the data, the same as `decode_region` reads; raises FormatError where that does."""


@runtime_checkable
class Shares(Protocol):
    """A format that can hand out data which cpr keeps in memory, protected from changes by the caller."""

    def share(self, data: Any) -> Any:
        """Return kept data so that the caller's changes are refused, or do not affect what is kept."""


_offers: dict[tuple[type[Any], type[Any]], bool] = {}


def supports(format: Format, what: type[P]) -> TypeGuard[P]:
    """Whether a format implements one of these protocols: `isinstance`, cached for each class.

    Python looks for them anew each time, which takes a tenth of storing a small result.
    """
    key = type(format), what
    if key not in _offers:
        _offers[key] = isinstance(format, what)
    return _offers[key]


class PreviewMaker(Protocol):
    """Makes a preview (see `cpr.previews.models`) from the pieces of a stream."""

    def take(self, piece: Any, /) -> None:
        """Process the next piece; must be fast, because the upload waits for it."""

    def finish(self) -> Any:
        """The preview, or None if there is nothing to show."""


@runtime_checkable
class Previews(Streams, Protocol):
    """A format whose data can be previewed; `preview_class` is the class of preview."""

    preview_class: ClassVar[type[Any]]

    def preview_maker(self, stream: Any) -> PreviewMaker:
        """Make the object that receives the pieces of a stream and makes a preview from them."""


class Stream(Generic[T]):
    """Data that is produced once, piece by piece, and is never held whole.

    Iterating yields the pieces and digests them on the way; when the last one is out,
    `fingerprint` and `described` are known.

    Attributes:
        on_piece: called with every piece that passes.
        expected: the fingerprint, if it is known before the pieces pass.
        content: a longer digest of the same content, `algorithm:hexdigest`, known after the last piece, and
            independent of the options; None if the stream has none: then the encoded bytes are used instead.
    """

    on_piece: Callable[[Any], None] | None = None
    expected: str | None = None
    content: str | None = None

    @property
    def fingerprint(self) -> str:
        """The same text that the format's `fingerprint` gives for the whole of the data."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError

    def lasting(self, piece: memoryview) -> memoryview | None:  # noqa: ARG002
        """The bytes of the latest piece, if they stay in memory as long as the data; else None."""
        return None

    def described(self) -> dict[str, Any]:
        """Format fields that are known only after the last piece (such as the number of rows)."""
        return {}


class naming:  # noqa: N801 - it is used like a function
    """Add the object's name to errors raised in the block that name none, as formats do not know it.

    >>> from cpr.errors import DecodeError
    >>> with naming("s3://bucket/a.csv"):
    ...     raise DecodeError("no table")
    Traceback (most recent call last):
    cpr.errors.DecodeError: s3://bucket/a.csv: no table; see docs/errors.md#decodeerror
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, CprError) and error.url is None:
            error.url = self._url


def unusable(
    problem: str,
    field: str,
    expected: str,
    actual: Any,
    remedy: str = "correct it, or leave it out for the default",
) -> FormatError:
    """Make the error for an invalid option or invalid metadata."""
    return FormatError(problem, field=field, expected=expected, actual=spelled(actual), remedy=remedy)


def damaged(
    problem: str,
    expected: str,
    actual: object,
    remedy: str = "restore the file, or write it again with the program it comes from",
    field: str | None = None,
) -> DecodeError:
    """Make the error for a file that is damaged or not of the expected format."""
    return DecodeError(problem, field=field, expected=expected, actual=str(actual)[:200], remedy=remedy)
