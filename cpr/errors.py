"""The exceptions that cpr raises, as a tree of classes.

Catch the class that you can handle; every error names the URL or the field, what was expected,
what was found, and the remedy.

    CprError
    ├── ResourceError              .url          something about one stored object
    │   ├── ResourceNotFoundError  (FileNotFoundError)   no such object, or no such bucket
    │   ├── CorruptDataError       (ValueError)  .expected .actual   the bytes are not those written
    │   ├── NoDataError            (ValueError)  a target that was never filled
    │   ├── PartError              (ValueError)  parts of an array that do not make a whole
    │   ├── SourceChangedError                       a source is not the version that its cache key names
    │   ├── TransferError          (OSError)     the store refused or failed: permission, disk, network
    │   └── UnsupportedStoreError  (NotImplementedError)  a lock in a store that cannot have one
    ├── FormatError                (ValueError)  something about bytes and their meaning
    │   ├── UnsupportedExtensionError            no format of this class has that extension
    │   ├── EncodeError                          the format cannot hold this data
    │   └── DecodeError                          the bytes are not of this format
    ├── RecordError                (ValueError)  a stored record is not acceptable
    ├── ConfigurationError         (ValueError)  the local table of storage options is malformed
    ├── DuplicateTypeError         (ValueError)  two classes claim one record type
    ├── MissingDependencyError     (ImportError) an optional package is not installed
    └── UsageError                 (TypeError, AttributeError) a call that something else is meant by

All of them pickle, for they cross from Dask workers to clients.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

__all__ = [
    "ConfigurationError",
    "CorruptDataError",
    "CprError",
    "DecodeError",
    "DuplicateTypeError",
    "EncodeError",
    "FormatError",
    "MissingDependencyError",
    "NoDataError",
    "PartError",
    "RecordError",
    "ResourceError",
    "ResourceNotFoundError",
    "SourceChangedError",
    "TransferError",
    "UnsupportedExtensionError",
    "UnsupportedStoreError",
    "UsageError",
]


class CprError(Exception):
    """Base of every error that cpr raises on purpose.

    Args:
        problem: one clause saying what is wrong.
        url: the object it is about.
        field: the record field, column or argument it is about.
        expected: what would have been right.
        actual: what was found.
        remedy: what the reader can do about it.
        topic: the heading in docs/errors.md that says more than the one of the class.
    """

    topic: str | None = None  # of errors that were pickled before there were topics

    def __init__(
        self,
        problem: str,
        *,
        url: str | None = None,
        field: str | None = None,
        expected: Any = None,
        actual: Any = None,
        remedy: str | None = None,
        topic: str | None = None,
    ) -> None:
        self.problem = problem
        self.url = url
        self.field = field
        self.expected = expected
        self.actual = actual
        self.remedy = remedy
        self.topic = topic
        super().__init__(problem)

    def __str__(self) -> str:
        subject = ", ".join(str(s) for s in (self.url, self.field) if s is not None)
        text = f"{subject}: {self.problem}" if subject else self.problem
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.actual is not None:
            text += f"; found {self.actual}"
        if self.remedy is not None:
            text += f". Remedy: {self.remedy}"
        return f"{text}; see {self.page}"

    @property
    def page(self) -> str:
        """URL of the documentation on this error: of its specific cause if known, else of its class."""
        ours = next(cls for cls in type(self).__mro__ if cls.__module__ == __name__)  # not a user's subclass
        return f"docs/errors.md#{self.topic or ours.__name__.lower()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(cls: type[CprError], attributes: dict[str, Any]) -> CprError:
    error = cls.__new__(cls)
    error.__dict__.update(attributes)
    error.args = (error.problem,)
    return error


def shown(value: object, limit: int = 100) -> str:
    """Format a value from outside as a short ASCII text, whatever it is."""
    try:
        return ascii(value)[:limit]
    except Exception:
        return type(value).__name__  # a number of too many digits, nested without end, a class's own mistake


def spelled(value: object, limit: int = 80) -> str:
    """A value that a caller has given, as Python spells it, shortened; its kind where that cannot be."""
    try:
        return repr(value)[:limit]
    except Exception:
        return shown(value, limit)


class ResourceError(CprError):
    """A problem with one stored object, named by `url`."""


class ResourceNotFoundError(ResourceError, FileNotFoundError):
    """The object does not exist, or its bucket does not."""


class CorruptDataError(ResourceError, ValueError):
    """The stored bytes are not the ones that were written; `expected` and `actual` are digests or sizes."""


class SourceChangedError(ResourceError):
    """A source was replaced while it was used; `expected` and `actual` are the store's versions.

    Nothing was made of two versions. Prefect's retries ask for the version, and the cache key, anew.
    """


class NoDataError(ResourceError, ValueError):
    """A target was persisted, serialised or read before `set_data`."""

    @classmethod
    def of_empty(cls, url: str, action: str) -> Self:
        """Make the error for a target without data, at this URL, that was to be used (say "be read")."""
        return cls(
            f"the target has no data and cannot {action}",
            url=url,
            expected="set_data(...) first",
            actual="an empty target",
            remedy="call set_data first; a file that exists is read by the source for its kind, such as "
            "ImageSource.from_path(url)",
        )


class PartError(ResourceError, ValueError):
    """Parts overlap, leave a gap, cut a chunk or belong to another array; or wells do not form a plate.

    Nothing was published. `field` names the part or the wells, `expected` and `actual` the other one, or the
    region, that it does not go with.
    """


class TransferError(ResourceError, OSError):
    """The store refused or failed: no permission, disk full, no connection, no credentials."""


class UnsupportedStoreError(ResourceError, NotImplementedError):
    """The store has no conditional writes, which a lock needs; nothing was locked."""


class FormatError(CprError, ValueError):
    """Data does not fit its format, or an option has a value that the format does not have."""


class UnsupportedExtensionError(FormatError):
    """The path has an extension that this class does not handle."""


class EncodeError(FormatError):
    """The format cannot hold this data; nothing was written."""


class DecodeError(FormatError):
    """The stored bytes are not of this format."""


class RecordError(CprError, ValueError):
    """A record has an unknown type or field, or a name or URL that is not allowed; nothing was opened."""

    NOT_OURS: ClassVar[str] = "the record was not written by cpr: delete it, so that its task runs again"

    is_refused_here: bool = False  # by this machine or its configuration: another may read it

    @classmethod
    def of_validation(
        cls, error: Any, problem: str = "a field has a value of the wrong kind", where: str = ""
    ) -> Self:
        """Make a RecordError from the first problem in a pydantic ValidationError.

        Args:
            error: the ValidationError.
            problem: what is wrong, in one clause.
            where: the field that holds what was validated.
        """
        first = error.errors(include_url=False)[0]
        return cls(
            problem,
            field=shown(".".join(str(part) for part in (where, *first["loc"]) if part != ""))[1:-1],
            expected=first["msg"],
            actual=shown(first["input"]),
            remedy=cls.NOT_OURS,
        )


class ConfigurationError(CprError, ValueError):
    """A setting is invalid: the table of storage options (`url` is its file) or a variable (`field`)."""


class DuplicateTypeError(CprError, ValueError):
    """Two classes were registered under one record type."""


class MissingDependencyError(CprError, ImportError):
    """An optional package is not installed; the remedy is the command that installs it."""


class UsageError(CprError, TypeError, AttributeError):
    """A method or argument that sources and targets do not have; `remedy` names the right call."""
