"""User-defined classes in the predecessor's style, which write and read files at `get_path()`.

    class ParquetTarget(Target):
        def _hash_data(self, data) -> str: ...
        def _write_data(self): self._data.to_parquet(self.get_path())
        def _read_data(self): return pd.read_parquet(self.get_path())

Such a class becomes a format like any other: it writes a temporary file, which is streamed to its place, all
or nothing, and reads a temporary file of verified bytes. So it works at URLs, too.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from cpr.errors import EncodeError, FormatError, UsageError
from cpr.format import ReadableFile, WritableFile
from cpr.predecessor.results_without_checksum import in_scratch
from cpr.records.predecessor import know_own_class
from cpr.records.registry import LABELS, RECORD_KEY, register

__all__ = ["OwnFiles", "adopt", "is_own_style"]

_METHODS = ("_hash_data", "_read_data", "_write_data")
_USUAL = {"self", "location", "name", "ext", "data_hash"}
_PIECE = 1 << 20
_HASH = re.compile("[0-9a-f]{16}")


def is_own_style(cls: type[Any]) -> bool:
    """Whether a new resource class is written in the predecessor's style.

    Raises UsageError for one with such methods below a class that reads and writes without them.
    """
    format_class = getattr(cls, "format_class", None)
    if format_class is not None:
        if not issubclass(format_class, OwnFiles) and "format_class" not in cls.__dict__:
            _require_none_unused(cls)
        return issubclass(format_class, OwnFiles)
    return any(name in cls.__dict__ for name in _METHODS) or _holds_data(cls)


def _require_none_unused(cls: type[Any]) -> None:
    if unused := [name for name in _METHODS if name in cls.__dict__]:
        base = cls.__mro__[1].__name__
        kind = "Source" if "Source" in base else "Target"
        raise UsageError(
            f"{base} reads and writes files without such methods, so that these would never be called",
            field=f"{cls.__qualname__}.{unused[0]}",
            expected=f"a {kind} of its own for other files, or get_data of {base} as it is",
            actual=", ".join(unused),
            remedy=f"class {cls.__name__}({kind}), from cpr import {kind}",
        )


def _holds_data(cls: type[Any]) -> bool:
    """Whether a class that reads files itself caches the data as `_data`, as the predecessor's sources do."""
    code = getattr(cls.__dict__.get("get_data"), "__code__", None)
    bases = [base for base in cls.__bases__ if hasattr(base, "url")]
    is_of_a_kind = any(not getattr(base.url, "__isabstractmethod__", False) for base in bases)
    return is_of_a_kind and "_data" in getattr(code, "co_names", ())


def adopt(cls: Any) -> None:
    """Turn a class in the predecessor's style into an ordinary resource class, and register it.

    Its record type is its name with that of its module, for such classes are often called as cpr's own.

    Raises UsageError for a class that is neither a source nor a target.
    """
    if getattr(cls.url, "__isabstractmethod__", False):
        raise UsageError(
            "a class of one's own is a source or a target",
            field=cls.__qualname__,
            expected="from cpr import Source, Target",
            actual="a class of Resource alone",
            remedy=f"class {cls.__name__}(Source)",
        )
    inherited = getattr(getattr(cls, "format_class", None), "read_data", None)
    read = cls.__dict__.get("_read_data") or cls.__dict__.get("get_data") or inherited
    if "get_data" in cls.__dict__:
        del cls.get_data  # it reads the place itself, unverified: the format calls it, for a verified copy
    if "__init__" in cls.__dict__:
        cls.__init__ = _taking_records(cls, cls.__init__)
    if "serialize" in cls.__dict__:
        cls.serialize = _telling_once(cls.serialize)
    members = {"owner": cls, "read_data": None if read is None else staticmethod(read)}
    cls.format_class = type(f"{cls.__name__}Files", (OwnFiles,), members)
    cls.record_type = re.sub(r"\W", "_", f"{cls.__module__}_{cls.__qualname__}")[-100:].lstrip("0123456789")
    register(cls)
    know_own_class(f"{cls.__module__}.{cls.__qualname__}", cls.record_type)


def _telling_once(serialize: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """Wrap `serialize` to leave out the class's own attributes, which the record has already."""

    @functools.wraps(serialize)
    def tell(self: Any) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if key in LABELS}

    return tell


def _taking_records(cls: Any, init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor so that it also accepts a cpr record: `cls(**resource.serialize())`."""

    @functools.wraps(init)
    def construct(self: Any, *arguments: Any, **named: Any) -> None:
        if RECORD_KEY in named:
            super(cls, self).__init__(**{RECORD_KEY: named[RECORD_KEY]})
        else:
            init(self, *arguments, **named)

    return construct


class _AnyHash(str):
    """Equal to any hash, since cpr has compared already what such a class compares itself."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


@dataclass(frozen=True)
class OwnFiles:
    """The format of a class in the predecessor's style.

    Attributes:
        options: arguments of its constructor besides location, name, ext and data_hash.
        ext: of the files, which some writers go by.
    """

    extensions: ClassVar[tuple[str, ...]] = ()  # any
    encodes_alike: ClassVar[bool] = False
    owner: ClassVar[Any]
    read_data: ClassVar[Callable[[Any], Any] | None]

    recorded: ClassVar[tuple[str, ...]] = ("options",)

    options: dict[str, Any] | None = None
    ext: str = field(default="", compare=False)

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> Self:
        """Make the format from the class's own arguments. Raises FormatError for unknown ones."""
        if unknown := sorted(set(options) - set(cls._parameters())):
            raise FormatError(
                f"{cls.owner.__name__} has no such option",
                field=unknown[0],
                expected=", ".join(cls._parameters()) or "no options",
                actual=", ".join(unknown),
                remedy="leave it out, or correct its spelling",
            )
        return cls(dict(options) or None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _files_of, (self.owner, self.options, self.ext)

    @classmethod
    def _parameters(cls) -> list[str]:
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        parameters = inspect.signature(cls.owner.__init__).parameters.values()
        return [
            one.name for one in parameters if one.name not in {*_USUAL, "format"} and one.kind not in kinds
        ]

    def told(self, resource: Any) -> Self:
        """This format with the extension and arguments of a resource of the class."""
        found = {}
        for name in self._parameters():
            kept = [one for one in (name, f"_{name}") if one in resource.__dict__]
            if not kept:
                raise UsageError(
                    "an argument of the constructor is not kept, so that no record can tell it",
                    field=name,
                    expected=f"an attribute self.{name}",
                    actual=f"{type(resource).__name__} without it",
                    remedy=f"self.{name} = {name}",
                )
            found[name] = resource.__dict__[kept[0]]
        return dataclasses.replace(self, options=found or None, ext=resource.ext)

    def build(self, location: str, name: str, ext: str) -> Any:
        """Make a resource of the class."""
        resource = self.owner(location=location, name=name, ext=ext, **(self.options or {}))
        resource.format = dataclasses.replace(self, ext=ext)
        return resource

    def _in_scratch(self, folder: str) -> Any:
        """A resource in a temporary folder of ours, wherever records may point."""
        token = in_scratch.set(True)
        try:
            return self.build(folder, "data", self.ext)
        finally:
            in_scratch.reset(token)

    def fingerprint(self, data: Any) -> str:
        """The class's own hash of the data. Raises EncodeError unless it is 16 hex digits."""
        found = None
        if hasattr(self.owner, "_hash_data"):
            found = self._in_scratch(tempfile.gettempdir())._hash_data(data)
        if not isinstance(found, str) or not _HASH.fullmatch(found):
            raise EncodeError(
                f"{self.owner.__name__}._hash_data names no content",
                field="_hash_data",
                expected="16 hex digits",
                actual=repr(found)[:80],
                remedy="return xxhash.xxh3_64(data_as_bytes).hexdigest()",
            )
        return found

    @contextmanager
    def _scratch(self) -> Iterator[Any]:
        """A resource of the class, in a folder that is deleted afterwards."""
        with tempfile.TemporaryDirectory(prefix="cpr-") as folder:
            resource = self._in_scratch(folder)
            resource.data_hash = resource._key = _AnyHash("0" * 16)
            yield resource

    def encode(self, data: Any, file: WritableFile) -> None:
        """Write the data by the class's method. Raises EncodeError unless that writes exactly one file."""
        if not hasattr(self.owner, "_write_data"):
            raise UsageError(
                f"{self.owner.__name__} writes nothing",
                field="_write_data",
                expected="a method",
                remedy="def _write_data(self): write(self._data, self.get_path())",
            )
        with self._scratch() as resource:
            resource._data = data
            resource._write_data()
            path = resource.get_path()
            if not os.path.isfile(path):
                raise EncodeError(
                    f"{self.owner.__name__}._write_data has written no file",
                    field="_write_data",
                    expected="a file at self.get_path()",
                    actual="a folder" if os.path.isdir(path) else "nothing",
                    remedy="write to self.get_path(), one file; for a folder use ZarrTarget",
                )
            if more := sorted(set(os.listdir(resource.location)) - {os.path.basename(path)}):
                raise EncodeError(
                    f"{self.owner.__name__}._write_data has written more than one file",
                    field="_write_data",
                    expected="the file at self.get_path() alone, for that is what is stored",
                    actual=", ".join(more)[:100],
                    remedy="a class for each kind of file, or both in one file",
                )
            with open(path, "rb") as written:
                shutil.copyfileobj(written, file, _PIECE)

    def decode(self, file: ReadableFile) -> Any:
        """Read the data with the class's method."""
        read = type(self).read_data
        if read is None:
            raise UsageError(
                f"{self.owner.__name__} reads nothing",
                field="_read_data",
                expected="a method",
                remedy="def _read_data(self): return read(self.get_path())",
            )
        with self._scratch() as resource:
            with open(resource.get_path(), "wb") as copied:
                while block := file.read(_PIECE):
                    copied.write(block)
                    file.release(file.tell())
            return read(resource)


def _files_of(owner: Any, options: dict[str, Any] | None, ext: str) -> OwnFiles:
    files: OwnFiles = owner.format_class(options, ext)
    return files
