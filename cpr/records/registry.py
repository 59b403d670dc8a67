"""The registry of record types: the closed table from which a record's class is looked up.

A record's `type` indexes this table and nothing else; what is not in it is refused, never imported.
cpr's own classes and those of installed plug-ins (entry point group `cpr.resources`, the entry's
name being the record type) are imported when a record first asks for them.
"""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from cpr._lazy import missing_package, needs
from cpr.errors import DuplicateTypeError, RecordError
from cpr.records.predecessor import has_old_form, is_old_record, read_old_record

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "BUILT_IN",
    "LABELS",
    "RECORD_KEY",
    "Storable",
    "envelope",
    "is_record",
    "known_extensions",
    "load_record",
    "lookup",
    "media_type_of",
    "register",
    "source_of",
]

RECORD_KEY = "__cpr__"
"""What everything that a record says stands under."""

LABELS = frozenset({RECORD_KEY, "data_hash"})
"""What may stand at the top of a record that `serialize()` gave."""

ENTRY_POINT_GROUP = "cpr.resources"

# The formats that come with cpr: package, classes, what names of their files end in, and their media type.
_FORMATS = (
    ("image", "ImageSource ImageTarget", ".tif .tiff .ome.tif .ome.tiff", "image/tiff"),
    ("csv", "CSVSource CSVTarget", ".csv .csv.gz", "text/csv"),
    ("parquet", "ParquetSource ParquetTarget", ".parquet .parq", "application/vnd.apache.parquet"),
    ("numpy", "NumpySource NumpyTarget", ".npy", None),
    ("zarr", "OMEZarrSource OMEZarrTarget", ".ome.zarr", "application/vnd+zarr"),
    ("zarr", "OMEPlateSource OMEPlateTarget OMEZarrField", ".ome.zarr", "application/vnd+zarr"),
    ("zarr", "ZarrSource ZarrTarget ZarrPart ZarrRegion", ".zarr", "application/vnd+zarr"),
)

BUILT_IN = {name: f"cpr.{package}.{name}" for package, names, *_ in _FORMATS for name in names.split()}
"""cpr's own classes, by record type -> the module each is in."""

# What sources read besides.
_READ = (
    (".tsv .tsv.gz", "CSVSource", "text/tab-separated-values"),
    (".npz", "NumpySource", None),
    (".stk .lsm .svs .qptiff .czi .nd2 .lif", "ImageSource", None),
)

_BUILT_IN_EXTENSIONS = frozenset(ext for _, _, extensions, _ in _FORMATS for ext in extensions.split())
_MEDIA_TYPES = {
    ext: "application/gzip" if ext.endswith(".gz") else media_type
    for extensions, media_type in [(row[2], row[3]) for row in _FORMATS] + [(row[0], row[2]) for row in _READ]
    for ext in extensions.split()
}

log = logging.getLogger("cpr")


@runtime_checkable
class Storable(Protocol):
    """The methods that records need of a resource."""

    def serialize(self) -> dict[str, Any]:
        """The resource's record."""

    def identity(self) -> dict[str, Any]:
        """What a cache key hashes."""

    def get_path(self) -> str:
        """Path or URL of the object."""


class Registered(Storable, Protocol):
    """The methods that records need of a resource's class."""

    format_class: ClassVar[type[Any]]

    @classmethod
    def deserialize(cls, record: Mapping[str, Any], /) -> Storable:
        """Make the resource that a record describes."""

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any], /) -> Storable:
        """Make the resource that a predecessor's record describes, from the arguments in it."""


_registered: dict[str, type[Registered]] = {}

R = TypeVar("R", bound=type[Any])


def register(cls: R) -> R:
    """Class decorator: records of type `cls.__name__` are loaded as `cls`.

    Raises DuplicateTypeError if another class has that name already.

    >>> from cpr.numpy.npy import NPY
    >>> @register
    ... class SpectrumTarget(cpr.Target):
    ...     format_class = NPY
    >>> spectrum = SpectrumTarget.from_path("memory://docs/spectrum.npy")
    >>> spectrum.set_data(np.arange(3))
    >>> type(cpr.load(spectrum.serialize())).__name__
    'SpectrumTarget'
    """
    name = getattr(cls, "record_type", cls.__name__)
    other = _registered.get(name)
    place = f"{cls.__module__}.{cls.__qualname__}"
    # The same class again is a module that was reloaded, or pickled by value to a worker.
    taken = None if other is None else f"{other.__module__}.{other.__qualname__}"
    if taken is None and name in BUILT_IN:
        taken = f"{BUILT_IN[name]}.{name}"
    if taken is not None and taken != place:
        raise DuplicateTypeError(
            "two classes claim one record type",
            field=name,
            expected=taken,
            actual=place,
            remedy="give one of the classes another name",
        )
    _registered[name] = cls
    return cls


def lookup(name: object) -> type[Registered]:
    """Look up the class of a record type.

    Raises RecordError for an unknown one, importing nothing, MissingDependencyError without its package.
    """
    if isinstance(name, str):
        if name not in _registered and name in BUILT_IN:
            try:
                importlib.import_module(BUILT_IN[name])
            except ModuleNotFoundError as error:
                if (package := missing_package(error)) is None:
                    raise
                raise needs(name, package) from None
        if name in _registered:
            return _registered[name]
        entry = _plug_ins(tuple(sys.path)).get(name)
        if entry is not None:
            plug_in: type[Registered] = entry.load()
            return register(plug_in)
    raise RecordError(
        "unknown record type",
        field="type",
        expected="a registered class, such as " + ", ".join(sorted({*BUILT_IN, *_registered})),
        actual=ascii(name)[:100],
        remedy="import the module that registers this type (@cpr.register above its class), or install the "
        "plug-in that has it",
    )


@functools.cache
def _plug_ins(path: tuple[str, ...]) -> dict[str, EntryPoint]:  # noqa: ARG001 - what is installed depends on it
    """The installed plug-ins; listing them reads files, which a record must not trigger."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def known_extensions() -> frozenset[str]:
    """The file extensions of targets, lower-case, including those of installed plug-ins.

    Imports the plug-ins; one that cannot be imported is logged once and left out.
    """
    return _extensions(tuple(sys.path))


@functools.cache
def _extensions(path: tuple[str, ...]) -> frozenset[str]:
    found = set(_BUILT_IN_EXTENSIONS)
    for name in _plug_ins(path):
        try:
            found.update(lookup(name).format_class.extensions)
        except Exception as error:
            log.warning("%s, of a plug-in, cannot be imported, and its files are not known: %s", name, error)
    return frozenset(found)


def source_of(url: str) -> str | None:
    """The name of cpr's source class for a file's extension; None for an unknown extension.

    >>> source_of("s3://bucket/raw/cell.ome.tif")
    'ImageSource'
    """
    name = url.lower()
    for _, names, extensions, _ in _FORMATS:
        if name.endswith(tuple(extensions.split())):
            return next(one for one in names.split() if one.endswith("Source"))
    return next((source for endings, source, _ in _READ if name.endswith(tuple(endings.split()))), None)


def media_type_of(name: str) -> str | None:
    """The media type of a file, as MIME has it, by what its name ends in; None where there is none.

    >>> media_type_of("cell.ome.tif"), media_type_of("table.csv.gz"), media_type_of("array.npy")
    ('image/tiff', 'application/gzip', None)
    """
    return next((media for ext, media in _MEDIA_TYPES.items() if name.lower().endswith(ext)), None)


def is_record(value: object) -> bool:
    """Whether a JSON value is a resource's record, of this library or of its predecessor."""
    return isinstance(value, Mapping) and (RECORD_KEY in value or is_old_record(value))


def envelope(resource: Storable) -> dict[str, Any]:
    """The record under its single key, as in Prefect's results; persists a target first."""
    return {RECORD_KEY: resource.serialize()[RECORD_KEY]}


def load_record(record: Any) -> Storable:
    """Make the resource that a record describes; no I/O.

    Raises RecordError for anything but a well-formed record of a registered type, or of the predecessor's.
    """
    if has_old_form(record):
        name, arguments = read_old_record(record)
        return lookup(name).from_arguments(arguments)
    if (
        not isinstance(record, Mapping)
        or RECORD_KEY not in record
        or not LABELS.issuperset(record)
        or not isinstance(record[RECORD_KEY], Mapping)
    ):
        raise RecordError(
            "not a record",
            expected=f'{{"{RECORD_KEY}": {{...}}}}',
            actual=_brief(record),
            remedy="pass what serialize() returned",
        )
    return lookup(record[RECORD_KEY].get("type")).deserialize(record)


def _brief(value: Any) -> str:
    """The beginning of a value's text; for a value nested too deeply, its type."""
    try:
        return ascii(value)[:100]
    except RecursionError:
        return f"{type(value).__name__}, nested too deeply"
