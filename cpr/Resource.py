"""A resource is where bytes at a place and their meaning meet."""

from __future__ import annotations

import copy
import dataclasses
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self, TypeVar

from cpr import io
from cpr.errors import (
    FormatError,
    MissingDependencyError,
    RecordError,
    UnsupportedExtensionError,
    shown,
)
from cpr.format import Format, Region, RegionReader, Shares, naming, supports
from cpr.previews.html import html_of, png_of
from cpr.previews.models import Preview
from cpr.records.format_fields import read_format, require_own_names, to_json
from cpr.records.misuse import NamesWhatIsMeant, not_from_a_path
from cpr.records.record_fields import ResourceFields, names_of, read_fields
from cpr.records.registry import RECORD_KEY, is_record, load_record
from cpr.retrieving import decode_file

__all__ = ["Resource"]

T = TypeVar("T")


class Resource(NamesWhatIsMeant, ABC):
    """One object at a URL, and the format that gives its bytes meaning.

    Two kinds exist: a `Source` is somebody else's object, a `Target` is one that cpr writes. A
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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if dataclasses.is_dataclass(getattr(cls, "format_class", None)):
            require_own_names(cls.format_class)

    def __init__(
        self, location: str, name: str | None = None, ext: str | None = None, format: Format | None = None
    ) -> None:
        if name is None or ext is None:
            raise not_from_a_path(type(self).__name__, location)
        self.location = location
        self.name = name
        self.ext = ext
        self.format: Any = self.format_class() if format is None else format
        self._cached: Any = None

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """A resource at a path or URL; nothing is read, written or connected to.

        Args:
            path: str, os.PathLike or UPath; any fsspec URL.
            **options: fields of the format (compression, metadata ...).

        Raises:
            UnsupportedExtensionError: the extension is none of this class's.
            FormatError: an option that the format does not have.
        """
        location, file_name = io.split(io.normalise(path))
        name, ext = cls._split_extension(file_name, location)
        return cls(location, name, ext, cls._make_format(ext, options))

    @classmethod
    def _split_extension(cls, file_name: str, location: str) -> tuple[str, str]:
        extensions: tuple[str, ...] = tuple(filter(None, cls.format_class.extensions))
        for ext in sorted(extensions, key=len, reverse=True):
            if file_name.lower().endswith(ext) and len(file_name) > len(ext):
                return file_name[: -len(ext)], file_name[-len(ext) :]
        raise UnsupportedExtensionError(
            f"{cls.__name__} does not handle this extension",
            url=io.join(location, file_name),
            expected=f"a name ending in {' or '.join(extensions)}",
            actual=os.path.splitext(file_name)[1] or "no extension",
            remedy="change the name, or use the class for this kind of file",
        )

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:  # noqa: ARG003
        """The format for an extension; subclasses may let the extension choose options."""
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
                actual=repr(region),
                remedy="read it whole: get_data()[...]",
            )
        return self.format

    def _keep(self, data: Any) -> Any:
        """Hold data for the next call; what the caller gets of it."""
        self._cached = data
        return self._shared(data)

    def _shared(self, held: Any, region: Region | None = None) -> Any:
        """What a caller gets of data in memory, or of a part of it: it cannot change what is held."""
        if region is not None:
            # Refused where the stored data would be: its [] may mean another thing.
            self._region_reader(region)
            held = held[region]
        if supports(self.format, Shares):
            return self.format.share(held)
        try:
            return copy.deepcopy(held)
        except (TypeError, copy.Error):
            return held  # files, locks and the like: there is no other one

    def _decoding(self) -> naming:
        return naming(self.url)

    def _decode(self, file: io.SeekableFile, decode: Callable[[Any], T]) -> T:
        """What a decoder makes of this resource's file, with its errors named."""
        return decode_file(self.url, file, decode)

    def _ranged(self) -> AbstractContextManager[io.SeekableFile]:
        """The stored object, to read parts of."""
        return io.ranged(self.url)

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What a cache key hashes: content and options as JSON values; equal for equal content."""

    def serialize(self) -> dict[str, Any]:
        """The record: a small JSON object from which any process makes this resource again."""
        return {RECORD_KEY: {**self._own_fields(), **self._format_fields()}}

    @classmethod
    def deserialize(cls, record: Mapping[str, Any]) -> Self:
        """A resource from its record; no I/O. Raises RecordError for one that is not acceptable."""
        try:
            return cls._from_fields(record[RECORD_KEY])
        except (RecordError, MissingDependencyError):
            raise
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise RecordError(
                "not a well-formed record",
                field=shown(str(error), 200),
                expected=", ".join(names_of(cls.fields_class)),
                actual=shown(record, 200),
                remedy="pass what serialize() returned",
            ) from None

    @classmethod
    def _from_fields(cls, record: Mapping[str, Any]) -> Self:
        fields = read_fields(record, cls.fields_class)
        if fields.ext.lower() not in cls.format_class.extensions:
            raise RecordError(
                "the record has an extension of another class",
                field="ext",
                expected=" or ".join(cls.format_class.extensions),
                actual=fields.ext,
                remedy=RecordError.NOT_OURS,
            )
        own = names_of(cls.fields_class)
        format = read_format(cls.format_class, {k: v for k, v in record.items() if k not in own})
        resource = cls(fields.location, fields.name, fields.ext, format)
        resource._take_fields(fields)
        return resource

    def _take_fields(self, fields: Any) -> None:
        """Take over what a record says besides place and format."""

    def _set_format(self, **changes: Any) -> None:
        """Change options."""
        self.format = dataclasses.replace(self.format, **changes)

    def _place(self) -> dict[str, Any]:
        return {"type": type(self).__name__, "location": self.location, "name": self.name, "ext": self.ext}

    def _own_fields(self) -> dict[str, Any]:
        """What the record says besides the fields of the format."""
        values = {name: getattr(self, name) for name in names_of(self.fields_class) if name != "type"}
        return {
            "type": type(self).__name__,
            **{name: value for name, value in values.items() if value is not None},
        }

    def _format_fields(self) -> dict[str, Any]:
        """The format's fields that differ from their defaults, as JSON values."""
        return to_json(self.format)

    def preview(self) -> Preview | None:
        """A small picture, or the first rows of a table: for the eye, nothing vouches for it.

        At most a megabyte or a few planes are read. None where there is nothing to be seen.

        Raises as `get_data`.
        """
        return None

    def facts(self) -> dict[str, Any]:
        """What is known without asking the store, for people: kind, name, place, shape, size."""
        fields = {name: getattr(self.format, name, None) for name in ("shape", "dtype")}
        known = {name: value for name, value in fields.items() if value is not None}
        if "shape" in known:
            known["shape"] = " x ".join(map(str, known["shape"]))
        return {"kind": type(self).__name__, "name": self.name, "url": self.url, **known}

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_png_(self) -> bytes | None:
        return png_of(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def keys(self) -> Iterable[str]:
        """`dict(resource)` is its type and URL: what Prefect shows of a flow's parameter.

        Without it the encoder Prefect uses walks all attributes, and every element of the data.
        """
        return ("type", "url")

    def __getitem__(self, key: str) -> str:
        return {"type": type(self).__name__, "url": self.url}[key]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Fields of this type take a resource or its record, and become the record in JSON."""
        from pydantic_core import core_schema

        taken = core_schema.no_info_plain_validator_function(cls._from_field)
        return core_schema.json_or_python_schema(
            json_schema=core_schema.chain_schema([core_schema.dict_schema(), taken]),
            python_schema=taken,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda resource: resource.serialize(), when_used="json"
            ),
        )

    @classmethod
    def _from_field(cls, value: Any) -> Self:
        resource = load_record(value) if is_record(value) else value
        if not isinstance(resource, cls):
            raise ValueError(f"a {cls.__name__} or its record is expected, not {type(resource).__name__}")  # noqa: TRY004 - pydantic collects ValueErrors
        return resource

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
