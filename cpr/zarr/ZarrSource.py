"""The source that reads Zarr arrays and groups."""

from __future__ import annotations

import json
import logging
import os
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Self, Unpack, cast, get_args

import numpy as np

from cpr import io
from cpr.data.argument_types import ZarrSourceArguments
from cpr.errors import ResourceNotFoundError, TransferError
from cpr.format import Region
from cpr.io.hashing import hex16
from cpr.io.parallel_map import parallel_map
from cpr.predecessor.arguments import with_names
from cpr.previews.models import Preview
from cpr.records.registry import register
from cpr.Source import Source, WhenEmpty, report_empty
from cpr.zarr.inner_metadata import MOST_INNER, inner_metadata
from cpr.zarr.options import option_error, path_inside
from cpr.zarr.preview import picture_of
from cpr.zarr.reading import array_of, open_node, part_of, to_dask
from cpr.zarr.stores.manifest import manifest_url
from cpr.zarr.stores.url_store import ReadOnlyStore, UrlStore
from cpr.zarr.stores.versioned_store import (
    MOST_LISTED,
    Version,
    VersionedStore,
    listing_version,
    object_version,
)
from cpr.zarr.typed_error_nodes import Node, own_copy

__all__ = ["METADATA", "ZarrSource", "ZarrSourceOptions"]

METADATA = ("zarr.json", ".zarray", ".zgroup")
# Beside a group of format 2 lie its attributes, and perhaps all metadata below it.
_MORE = (".zattrs", ".zmetadata")
_LOOKUPS = 16  # requests at once

FIRST = "0"
"""The array that is meant where a group of arrays is named: the whole image, of a pyramid."""

_EXAMPLE = 'ZarrSource.from_path(url, group="0", slices_start=(0, 0), slices_stop=(10, 10))'
_bad = partial(option_error, remedy=_EXAMPLE)

log = logging.getLogger("cpr")

_told: set[str] = set()

Bounds = tuple[int | None, ...]
Mode = Literal["r", "r+", "a", "w"]


@dataclass(frozen=True)
class ZarrSourceOptions:
    """What of a hierarchy is meant.

    Attributes:
        group: path of an array or group inside, "/" for the root. None for the root too, but where that is a
            group with an array "0", as an image of OME-Zarr is, for this array, which finds others by name.
        slices_start: first position along each axis; None for all, or for the first.
        slices_stop: end along each axis, not included; None for all, or for the last.
        mode: "r" reads; "r+", "a" and "w" also give a Zarr that exists to be written to in place. Nothing of
            such a one is verified, and it counts in cache keys by its place alone.
        version: what counts in cache keys, and has to stay as it is while it is read. "listing": all objects,
            by one listing, and one more request for each object that is read. "metadata": the metadata
            objects alone, of a group with those of all that is inside; chunks that are changed in place are
            not noticed. None takes "listing" for up to 20,000 objects, and "metadata" where there are more or
            the store cannot list them, which is logged.
    """

    extensions: ClassVar[tuple[str, ...]] = (".zarr", ".ome.zarr", "")

    group: str | None = None
    slices_start: Bounds | None = None
    slices_stop: Bounds | None = None
    mode: Mode = "r"
    version: Literal["listing", "metadata"] | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise _bad("mode", '"r", or "r+", "a" or "w" to write in place', self.mode)
        if self.version not in (None, "listing", "metadata"):
            raise _bad("version", '"listing", "metadata" or None', self.version)
        if self.group is not None:
            object.__setattr__(self, "group", path_inside("group", self.group, _EXAMPLE))
        for name in ("slices_start", "slices_stop"):
            value = getattr(self, name)
            if value is None:
                continue
            try:
                bounds = tuple(value) or None
            except TypeError:
                raise _bad(name, "integers or None, one for each axis", value) from None
            if bounds is None:  # the predecessor's way to say all
                object.__setattr__(self, name, None)
                continue
            if any(n is not None and not isinstance(n, (int, np.integer)) for n in bounds):
                raise _bad(name, "integers or None, one for each axis", value)
            object.__setattr__(self, name, tuple(None if n is None else int(n) for n in bounds))

    @property
    def slices(self) -> tuple[slice, ...] | None:
        """The region; None for everything."""
        if self.slices_start is None and self.slices_stop is None:
            return None
        start, stop = self.slices_start or (), self.slices_stop or ()
        axes = max(len(start), len(stop))
        start, stop = (bounds + (None,) * (axes - len(bounds)) for bounds in (start, stop))
        return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


@register
class ZarrSource(Source):
    """A Zarr array or group of format 2 or 3 that somebody else wrote, or a region of an array.

    It is one version from its cache key to its last byte: once `version` has been asked, as cache keys do,
    an object that is another one, new or gone raises SourceChangedError when it is read. What counts:
    see `ZarrSourceOptions`. Without a version, a Zarr that is deleted with its metadata meanwhile raises
    ResourceNotFoundError; chunks alone that are not there have fill values.

    >>> cpr.ZarrSource.from_path("s3://bucket/raw/plate.zarr/A/1/0", slices_stop=(1,)).format.group
    'A/1/0'
    """

    format_class = ZarrSourceOptions
    options_in_order = ("group", "slices_start", "slices_stop", "mode")

    @classmethod
    def from_path(
        cls, path: str | os.PathLike[str], *in_order: Any, **options: Unpack[ZarrSourceArguments]
    ) -> Self:
        """A source at a path or URL; nothing is read or connected to.

        Args:
            path: str, os.PathLike or UPath; any fsspec URL. What follows `.zarr/` in it is the group.
            *in_order: group, slices_start, slices_stop and mode may stand without their names, in this order.
            **options: group, slices_start, slices_stop, mode, version: see `ZarrSourceOptions`.

        Raises FormatError for options that make no sense, UsageError for too many without names.
        """
        options = cast("ZarrSourceArguments", with_names(cls, in_order, options))
        url = io.normalise(path)
        root, dot, inside = url.partition(".zarr/")
        if dot and not inside.endswith(".zarr"):
            group: Any = options.get("group")
            options["group"] = inside if group in (None, "") else f"{inside}/{group}"
            url = f"{root}.zarr"
        return super().from_path(url, **options)

    @classmethod
    def glob(
        cls, pattern: str | os.PathLike[str], *, empty: WhenEmpty = "error", **options: Any
    ) -> list[Self]:
        """The hierarchies whose folders match a pattern, sorted by URL; all else as `Source.glob`."""
        pattern = io.normalise(pattern)
        roots = {url.rpartition("/")[0] for name in METADATA for url in io.find(io.join(pattern, name))}
        if not roots:
            report_empty(pattern, empty)
        return [cls.from_path(url, **options) for url in sorted(roots)]

    @classmethod
    def _split_extension(cls, file_name: str, location: str) -> tuple[str, str]:
        # Folders of any name may be hierarchies.
        if not file_name.lower().endswith(".zarr") or len(file_name) == len(".zarr"):
            return file_name, ""
        return super()._split_extension(file_name, location)

    @property
    def _place_inside(self) -> str:
        group = self.format.group
        return io.join(self.url, group) if group else self.url

    @property
    def _group(self) -> str:
        """As the predecessor called it."""
        group: str | None = self.format.group
        return FIRST if group is None else group

    @property
    def _slices(self) -> tuple[slice, ...] | None:
        """As the predecessor called it."""
        slices: tuple[slice, ...] | None = self.format.slices
        return slices

    @property
    def _mode(self) -> Mode:
        """As the predecessor called it."""
        mode: Mode = self.format.mode
        return mode

    @property
    def _is_written(self) -> bool:
        return self._mode != "r"

    def _node(self) -> Node:
        return self._open(self.format.group or "")

    def _meant(self) -> Node:
        """The node, or where no group was named, the array that is meant by a group of arrays."""
        node = self._node()
        return array_of(node, FIRST) if self.format.group is None else node

    def _open(self, path: str) -> Node:
        if self._is_written:
            return open_node(UrlStore(self.url), path, mode="r+")
        if self._version is None:
            return open_node(ReadOnlyStore(self.url), path)
        return open_node(VersionedStore(self.url, self.format.group or "", self._version), path)

    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """A lazy `zarr.Array` or `zarr.Group`, read-only with mode "r"; with a region, that part as numpy.

        Args:
            cache: hold what comes back until this object goes away, or its version is asked for the first
                time; numpy arrays that are held are read-only.
            region: of the array, or within slices_start and slices_stop where those were given.

        Raises:
            ResourceNotFoundError: there is no array or group. What comes back raises it where it was deleted.
            FormatError: a region of a group, or one that the array does not have.
            SourceChangedError: it is another version than `version` said.
            TransferError: the store refused or failed.
        """
        slices = self.format.slices if self._cached is None else None
        data: Any = self._meant() if self._cached is None else self._cached
        if region is not None:
            return part_of(data, region, self.url, slices)
        if slices is not None:
            data = part_of(data, slices, self.url)
        if cache:
            self._cached = data
        return own_copy(data) if data is self._cached and not self._is_written else data

    def get_dask(self) -> Any:
        """The array, or its region, as a dask array with a block for each object; nothing is read now.

        Raises FormatError for a group, MissingDependencyError without dask, and as `get_data`.
        """
        token = self._token()  # first: what is opened then is held to the version that it names
        lazy = to_dask(self._meant(), f"cpr-{token}", self.url)
        return lazy if self.format.slices is None else lazy[self.format.slices]

    def _token(self) -> str:
        """What names the content, in dask's graphs; of what may be written to, as it is now."""
        named = self.identity()
        if self._is_written:
            named["now"] = listing_version(self._place_inside, METADATA) or uuid.uuid4().hex
        return hex16(json.dumps(named, sort_keys=True).encode())

    def preview(self) -> Preview | None:
        """A picture of an array, from a few of its planes; none of a group.

        Raises as `get_data`.
        """
        return picture_of(self._meant())

    def version(self) -> Version:
        """What the store says of the objects that count (see `ZarrSourceOptions`), asked once.

        Raises ResourceNotFoundError where there is no Zarr, TransferError.
        """
        if self._version is None:
            if not self._is_written:
                self._let_go()
            self._version = self._ask()
        return self._version

    def _let_go(self) -> None:
        """Forget what was read: it may be of another version than the one that is asked for now."""
        self._cached = None

    def _ask(self) -> Version:
        if self._is_written:
            self._tell(
                "it is opened to be written to: it counts in cache keys by its place alone, whatever is in it"
            )
            return {}
        place, wanted = self._place_inside, self.format.version
        version: Version | None = None
        if wanted != "metadata":
            version = listing_version(place, METADATA, unlimited=wanted == "listing")
        if version is None:
            version = self._metadata_version()
            if not version:
                raise ResourceNotFoundError(
                    "there is no Zarr array or group here",
                    url=place,
                    expected=", ".join(METADATA),
                    actual="nothing",
                    remedy="check the URL and the group",
                )
            if wanted != "metadata":
                self._tell_unlisted()
        manifest = io.lookup(manifest_url(self.url))
        about = {} if manifest is None else manifest.version
        return {**version, **{f"manifest {key}": value for key, value in about.items()}}

    def _tell_unlisted(self) -> None:
        """Say once that chunks do not count in keys; an error where that was asked for."""
        place = self._place_inside
        if self.format.version == "listing":
            raise TransferError(
                "the store does not list the objects of this Zarr",
                url=place,
                expected="a listing that has its metadata, with the version that they have",
                actual="none",
                remedy='version="metadata" lets the metadata alone count in cache keys',
            )
        self._tell(
            f"more than {MOST_LISTED} objects, or a store that does not list them: metadata alone count in "
            "keys, changed chunks are not noticed. version='listing' lists any number of objects"
        )

    def _tell(self, what: str) -> None:
        place = self._place_inside
        if place not in _told:
            _told.add(place)
            log.warning("%s: %s", place, what)

    def _metadata_version(self) -> Version:
        """What the store says of the metadata objects; nothing where there are none."""
        version: dict[str, str | int] = {}
        place = self._place_inside
        for name in (*METADATA, *_MORE):
            version |= object_version(place, name)
            if version and name == "zarr.json":
                break
        inner = self._inner_metadata() if version else []
        if inner is None:
            self._tell(
                f"what this group has inside does not count in cache keys: more than {MOST_INNER} arrays and "
                "groups, or some that cannot be listed or read. version='listing' counts all objects"
            )
        for found in parallel_map(partial(object_version, place), inner or (), _LOOKUPS):
            version |= found
        return version

    def _inner_metadata(self) -> list[str] | None:
        """Keys of the metadata of what a group has inside; None where they cannot be had."""
        return inner_metadata(self._node())
