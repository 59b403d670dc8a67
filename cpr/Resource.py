"""The base class of sources and targets: one object at a URL, with the format that encodes and decodes it."""

from __future__ import annotations

import copy
import dataclasses
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self, TypeVar

from cpr import io
from cpr.errors import (
    CprError,
    FormatError,
    MissingDependencyError,
    RecordError,
    UnsupportedExtensionError,
    shown,
    spelled,
)
from cpr.format import Format, Picks, Region, RegionReader, Shares, naming, supports
from cpr.predecessor.arguments import Arguments, resource_of_record, with_names
from cpr.predecessor.own_classes import OwnFiles, adopt, is_own_style
from cpr.previews.html import Shown
from cpr.records.flow_parameters import FlowParameter
from cpr.records.format_fields import read_format, require_own_names, to_json
from cpr.records.record_digest import UNLISTED, require_seal, sealed
from cpr.records.record_fields import ResourceFields, names_of, read_fields
from cpr.records.registry import RECORD_KEY
from cpr.records.usage_errors import NamesWhatIsMeant, require_kind_of_file
from cpr.verified_reading import decode_file

__all__ = ["Resource"]

T = TypeVar("T")


class Resource(NamesWhatIsMeant, FlowParameter, Shown, ABC):
    """One object at a URL, with the format that encodes and decodes its bytes.

    There are two kinds: a `Source` is a file that cpr only reads, a `Target` is one that it writes. A
    resource holds a URL and a format, never a filesystem, a credential or an open file; it pickles
    as its record.

    Attributes:
        location: folder or bucket prefix.
        name: file name without extension.
        ext: extension with its dot, as the user spelled it.
        format: a frozen dataclass; its fields are the options.

    >>> image = cpr.ImageTarget.from_path("memory://docs/cell.tif", compression="zstd")
    >>> image.location, image.name, image.ext, image.format.compression
    ('memory://docs', 'cell', '.tif', 'zstd')
    """

    format_class: ClassVar[type[Any]]
    fields_class: ClassVar[type[ResourceFields]] = ResourceFields
    record_type: ClassVar[str]  # the class's name, unless it is in the predecessor's style
    options_in_order: ClassVar[tuple[str, ...]] = ()  # which the predecessor took without their names
    old_defaults: ClassVar[dict[str, Any]] = {}  # options that the predecessor's constructor stood for
    known_by_content: ClassVar[bool] = False  # whether its results are found by their data_hash alone
    _is_sealed = True  # records of earlier versions do not vouch for themselves

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.record_type = cls.__name__
        if is_own_style(cls):
            adopt(cls)
        if dataclasses.is_dataclass(getattr(cls, "format_class", None)):
            require_own_names(cls.format_class)

    def __init__(
        self,
        location: str | os.PathLike[str] | None = None,
        name: str | None = None,
        ext: str | None = None,
        *in_order: Any,
        format: Format | None = None,
        **options: Any,
    ) -> None:
        """A resource from the parts of its path, or from a record: `cls(**resource.serialize())`.

        Options are those of `from_path`; of targets also the `data_hash` of what the predecessor wrote.

        Raises UsageError, RecordError, and as `from_path`.
        """
        self._cached: Any = None
        if RECORD_KEY in options:
            self.__dict__.update(resource_of_record(type(self), options).__dict__)
            return
        is_format = bool(in_order) and isinstance(in_order[0], getattr(self, "format_class", ()))
        if format is None and not is_format:
            options = with_names(type(self), in_order, options, ("data_hash",) * self.known_by_content)
            found = Arguments.of(type(self), location, name, ext, options)
        else:
            found = Arguments(str(location), str(name), str(ext), in_order[0] if is_format else format)
        self._take_arguments(found)

    def _take_arguments(self, found: Arguments) -> None:
        self.location, self.name, self.ext = found.location, found.name, found.ext
        self.format: Any = found.format

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Make a resource from the arguments in a record of custom-prefect-result. Raises RecordError."""
        return cls._of(Arguments.of_record(cls, arguments))

    @classmethod
    def _of(cls, found: Arguments) -> Self:
        """Make a resource from arguments that are already validated."""
        resource: Self
        if issubclass(cls.format_class, OwnFiles):
            resource = found.format.build(found.location, found.name, found.ext)
            found = found._replace(format=resource.format)
        elif cls.__init__ is Resource.__init__:
            resource = cls.__new__(cls)
            resource._cached = None  # noqa: SLF001
        else:
            resource = cls(*found[:4])
        resource._take_arguments(found)
        return resource

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], *in_order: Any, **options: Any) -> Self:
        """Make a resource for a path or URL; nothing is read, written or connected to.

        Args:
            path: str, os.PathLike or UPath; any fsspec URL.
            *in_order: options without names, in the order that custom-prefect-result had.
            **options: fields of the format (compression, metadata ...).

        Raises:
            UnsupportedExtensionError: the extension is none of this class's.
            FormatError: an option that the format does not have.
            UsageError: more options without names than custom-prefect-result had.
        """
        options = with_names(cls, in_order, options)
        require_kind_of_file(cls, path)
        location, file_name = io.split(io.normalise(path))
        name, ext = cls._split_extension(file_name, location)
        return cls._of(Arguments(location, name, ext, cls._make_format(ext, options)))

    @classmethod
    def takes(cls, ext: str) -> bool:
        """Whether this class handles files with this extension."""
        extensions: tuple[str, ...] = cls.format_class.extensions
        return not extensions or ext.lower() in extensions

    @classmethod
    def _split_extension(cls, file_name: str, location: str) -> tuple[str, str]:
        extensions: tuple[str, ...] = cls.format_class.extensions
        if not extensions:
            return os.path.splitext(file_name)
        for ext in sorted(filter(None, extensions), key=len, reverse=True):
            if file_name.lower().endswith(ext) and len(file_name) > len(ext):
                return file_name[: -len(ext)], file_name[-len(ext) :]
        url = io.join(location, file_name)
        named = f"{cls.__name__}.from_path({url + extensions[0]!r}), or " if cls.known_by_content else ""
        raise UnsupportedExtensionError(
            f"{cls.__name__} does not handle this extension",
            url=url,
            expected=f"a name ending in {' or '.join(filter(None, extensions))}",
            actual=os.path.splitext(file_name)[1] or "no extension",
            remedy=f"{named}use the class for this kind of file",
        )

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:  # noqa: ARG003
        """Make the format for an extension; subclasses may derive options from the extension."""
        if issubclass(cls.format_class, OwnFiles):
            return cls.format_class.of_options(options)
        known = {field.name for field in dataclasses.fields(cls.format_class)}
        if unknown := sorted(set(options) - known):
            raise FormatError(
                f"{cls.__name__} has no such option",
                field=", ".join(unknown),
                expected=f"one of {', '.join(sorted(known))}" if known else "no options",
                actual=", ".join(unknown),
                remedy="leave it out, or correct its spelling",
            )
        return cls.format_class(**options)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the object is: a plain path for local files, else an fsspec URL."""

    def get_name(self) -> str:
        """File name without extension."""
        return self.name

    def get_path(self) -> str:
        """Where the object is: a plain path for local files, else an fsspec URL."""
        return self.url

    @abstractmethod
    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """The data, decoded; `cache=True` keeps it in this process for the next call.

        Args:
            cache: hold the data until this object goes away.
            region: only this part, as numpy's basic indexing writes it (`np.s_[3, 10:20]`), where
                the format can; little more than that part is transferred.
        """

    def _region_reader(self, region: Region) -> RegionReader:
        if not supports(self.format, RegionReader):
            raise FormatError(
                "this format cannot be read in parts",
                url=self.url,
                field="region",
                expected="None",
                actual=spelled(region, 200),
                remedy="read it whole: get_data()[...]",
            )
        return self.format

    def _keep(self, data: Any) -> Any:
        """Keep data in memory for the next call; returns what the caller may have of it."""
        self._cached = data
        return self._shared(data)

    def _shared(self, held: Any, region: Region | None = None) -> Any:
        """Return data in memory, or a region of it, so that the caller cannot change the kept copy."""
        if region is not None:
            self._region_reader(region)  # refused where the stored data would be
            with self._decoding():
                held = self.format.pick(held, region) if supports(self.format, Picks) else held[region]
        if supports(self.format, Shares):
            return self.format.share(held)
        try:
            return copy.deepcopy(held)
        except (TypeError, copy.Error):
            return held  # files, locks and the like: there is no other one

    def _decoding(self) -> naming:
        return naming(self.url)

    def _decode(self, file: io.SeekableFile, decode: Callable[[Any], T]) -> T:
        """Decode this resource's file; errors name its URL."""
        return decode_file(self.url, file, decode)

    def _ranged(self) -> AbstractContextManager[io.SeekableFile]:
        """Open the stored object for reading parts of it."""
        return io.ranged(self.url)

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What a cache key hashes: content and options as JSON values, equal for equal content."""

    def serialize(self) -> dict[str, Any]:
        """The record: a small JSON object from which any process makes this resource again."""
        own, options = self._own_fields(), self._format_fields()
        return {RECORD_KEY: sealed(own, options) if self._is_sealed else {**own, **options}}

    @classmethod
    def deserialize(cls, record: Mapping[str, Any]) -> Self:
        """Make a resource from its record, without I/O. Raises RecordError if the record is not valid."""
        try:
            return cls._from_fields(record[RECORD_KEY])
        except (RecordError, MissingDependencyError):
            raise
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise RecordError(
                "not a well-formed record",
                field=shown(error.problem if isinstance(error, CprError) else str(error), 200),
                expected=", ".join(names_of(cls.fields_class)),
                actual=shown(record, 200),
                remedy="pass what serialize() returned",
            ) from None

    @classmethod
    def _from_fields(cls, record: Mapping[str, Any]) -> Self:
        fields = read_fields(record, cls.fields_class)
        if not cls.takes(fields.ext):
            raise RecordError(
                "the record has an extension of another class",
                field="ext",
                expected=" or ".join(cls.format_class.extensions),
                actual=fields.ext,
                remedy=RecordError.NOT_OURS,
            )
        own = names_of(cls.fields_class)
        format = read_format(cls.format_class, {k: v for k, v in record.items() if k not in own})
        resource = cls._of(Arguments(fields.location, fields.name, fields.ext, format, is_safe=True))
        resource._take_fields(fields)  # noqa: SLF001
        require_seal(record)
        return resource

    def _take_fields(self, fields: Any) -> None:
        """Set this resource's fields from a record, other than its location and format."""

    def _set_format(self, **changes: Any) -> None:
        """Change options of the format."""
        self.format = dataclasses.replace(self.format, **changes)

    def _place(self) -> dict[str, Any]:
        return {"type": self.record_type, "location": self.location, "name": self.name, "ext": self.ext}

    def _own_fields(self) -> dict[str, Any]:
        """The fields of the record that are not the format's."""
        names = [name for name in names_of(self.fields_class) if name not in UNLISTED]
        values = {name: getattr(self, name) for name in names}
        return {
            "type": self.record_type,
            **{name: value for name, value in values.items() if value is not None},
        }

    def _format_fields(self) -> dict[str, Any]:
        """The format's fields that differ from their defaults, as JSON values."""
        return to_json(self._told_format())

    def _told_format(self) -> Any:
        return self.format.told(self) if isinstance(self.format, OwnFiles) else self.format

    def facts(self) -> dict[str, Any]:
        """Summary for people, without asking the store: kind, name, location, shape, size."""
        fields = {name: getattr(self.format, name, None) for name in ("shape", "dtype")}
        known = {name: value for name, value in fields.items() if value is not None}
        if "shape" in known:
            known["shape"] = " x ".join(map(str, known["shape"]))
        return {"kind": type(self).__name__, "name": self.name, "url": self.url, **known}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self.serialize())

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Data is never changed in place, so copies may share it; pickling would write it.
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __copy__(self) -> Self:
        return self.__deepcopy__({})


def _unpickle(cls: type[Resource], record: Mapping[str, Any]) -> Resource:
    return cls.deserialize(record)
