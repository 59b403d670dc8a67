"""Versions of data that an object only points to: files, Zarr hierarchies, sources of lazy objects.

A version is what the store reports without reading the data: ETag, or size and modification time. An object
without any version is refused, and its task runs uncached.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cpr import io
from cpr.errors import ResourceError
from cpr.io.parallel_map import parallel_map
from cpr.prefect.own_code import is_own_class, is_own_function
from cpr.Source import Source

__all__ = [
    "MappedFiles",
    "ask_versions",
    "is_of",
    "lazy_content",
    "version_of_open_file",
    "version_of_path",
    "version_of_zarr",
]

_ZARR = ("zarr.json", ".zarray", ".zgroup")
_LOOKUPS = 32  # requests at once
_FACTS = (
    "ETag",
    "etag",
    "e_tag",
    "generation",
    "md5Hash",
    "size",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
)


def is_of(value: Any, module: str, *names: str) -> bool:
    """Whether a value is an instance of one of a package's classes, without importing the package."""
    loaded = sys.modules.get(module)
    return loaded is not None and any(isinstance(value, getattr(loaded, name, ())) for name in names)


def version_of_path(path: Any) -> dict[str, Any] | None:
    """The store's version of the file or Zarr hierarchy at a path; None if there is neither.

    A folder is only a place: what is written into it would change the key of what writes there.

    >>> version_of_path(pathlib.Path("/nowhere")) is None
    True
    """
    if is_of(path, "upath", "UPath") and "://" in str(path):
        try:
            found = io.lookup(io.normalise(path))
        except ResourceError:
            return None
        return None if found is None else dict(found.version)
    if not isinstance(path, pathlib.Path):
        return None
    try:
        if path.is_file():
            status = os.stat(path)
            return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        if any((path / name).is_file() for name in _ZARR):
            return {"entries": _digest(_in_folder(str(path)))}
    except (OSError, ValueError):
        pass
    return None


class MappedFiles:
    """Files that this process has memory-mapped for writing, whose times are therefore unreliable.

    None where the system does not tell, which is elsewhere than on Linux.

    >>> MappedFiles().content_of("/nowhere")
    []
    """

    @functools.cached_property
    def _places(self) -> frozenset[bytes]:
        try:
            with open("/proc/self/maps", "rb") as maps:
                lines = [line.split(maxsplit=5) for line in maps if b" rw-s " in line]
        except OSError:
            return frozenset()
        return frozenset(line[5].rstrip(b"\n") for line in lines if len(line) > 5)

    def content_of(self, path: str) -> list[str]:
        """SHA-256 of the content of such a file, as a list; empty for other files and URLs."""
        if not self._places or os.fsencode(os.path.realpath(path)) not in self._places:
            return []
        with open(path, "rb") as file:
            return [hashlib.file_digest(file, "sha256").hexdigest()]


def version_of_zarr(node: Any) -> list[Any]:
    """The version of a Zarr array or group, including its chunks.

    Raises TypeError for a store that does not tell when its objects change.
    """
    place = node.store_path
    return _version_of_store(place.store, place.path)


def _version_of_store(store: Any, path: str) -> list[Any]:
    kind = type(store).__name__
    if is_of(store, "cpr.zarr.stores.verifying_store", "VerifyingStore"):
        return ["verified", store.checksum, path]
    if is_of(store, "cpr.zarr.stores.url_store", "UrlStore"):
        url = io.join(store.url, path) if path else store.url
        found = io.find(io.join(io.normalise(url), "**"), hidden=True)
        return [kind, url, _digest((name, sorted(stat.version.items())) for name, stat in found.items())]
    from cpr.zarr.zarr_internals import entries_below, objects_in_memory, wrapped_store

    if is_of(store, "zarr.storage", "WrapperStore"):
        return _version_of_store(wrapped_store(store), path)
    if is_of(store, "zarr.storage", "LocalStore"):
        folder = os.path.join(store.root, path)
        return [kind, folder, _digest(_in_folder(folder))]
    if is_of(store, "zarr.storage", "MemoryStore"):
        return [kind, _digest(_in_memory(objects_in_memory(store), path))]
    if is_of(store, "zarr.storage", "ZipStore"):
        return [kind, path, version_of_path(pathlib.Path(store.path))]
    if is_of(store, "zarr.storage", "FsspecStore"):
        folder = "/".join(filter(None, (store.path.rstrip("/"), path)))
        fs, entries = entries_below(store, folder)
        return [kind, folder, _digest((name, _facts(entry, fs)) for name, entry in entries.items())]
    raise TypeError(f"a {kind} does not tell when its objects change")


def _digest(entries: Any) -> str:
    lines = sorted(repr(tuple(entry)) for entry in entries)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _in_folder(folder: str) -> Iterator[tuple[Any, ...]]:
    for place, _, names in os.walk(folder):
        for name in names:
            status = os.stat(os.path.join(place, name))
            yield os.path.relpath(os.path.join(place, name), folder), status.st_size, status.st_mtime_ns


def _in_memory(objects: Any, path: str) -> Iterator[tuple[Any, ...]]:
    for name, buffer in objects.items():
        if not path or name == path or name.startswith(f"{path}/"):
            yield name[len(path) :], hashlib.sha256(buffer.as_numpy_array().tobytes()).hexdigest()


def _facts(entry: Any, fs: Any) -> list[tuple[str, str]]:
    """The properties of an object that change with it, from an fsspec filesystem."""
    facts = [(fact, str(entry[fact])) for fact in _FACTS if fact in entry]
    if not any(fact != "size" for fact, _ in facts):
        raise TypeError(f"a {type(fs).__name__} does not tell when its objects change")
    return facts


def version_of_open_file(file: Any) -> list[tuple[str, str]]:
    """The version of a file that fsspec is to open. Raises as `version_of_zarr`."""
    return _facts(file.fs.info(file.path), file.fs)


class _Nowhere:
    """A file that discards what is written to it."""

    def write(self, data: Any) -> int:
        return len(data)


def _points_elsewhere(value: Any) -> list[Any]:
    """What a lazy object reads from or calls: Zarr hierarchies, sources, files, the user's functions.

    Raises what pickle raises for an object that holds something which cannot go to another process.
    """
    import cloudpickle  # type: ignore[import-untyped]

    found: list[Any] = []

    class Finder(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> str | None:
            if isinstance(obj, np.ndarray):
                return "array"
            if (
                is_of(obj, "zarr", "Array", "AsyncArray", "Group", "AsyncGroup")
                or isinstance(obj, (Source, pathlib.Path))
                or (isinstance(obj, types.FunctionType) and is_own_function(obj))
                or (isinstance(obj, type) and is_own_class(obj))
            ):
                found.append(obj)
                return "found"
            return None

    Finder(_Nowhere()).dump(value)
    return found


def lazy_content(value: Any) -> tuple[Any, list[Any]]:
    """A name of a lazy object's content from dask, and what it reads from or calls.

    Raises what dask or pickle raise for one that cannot be named, or cannot go to another process.
    """
    is_lazy = hasattr(type(value), "__dask_graph__")
    try:
        found = _points_elsewhere(value)
    except Exception:
        if is_lazy:
            raise
        found = []
    if not is_lazy:
        return value.__dask_tokenize__(), found
    import dask
    from dask.base import tokenize

    with dask.config.set({"tokenize.ensure-deterministic": True}):
        return str(tokenize(value)), found


def ask_versions(values: Sequence[Any]) -> None:
    """Ask the store for the versions of many sources in parallel."""
    sources = [value for value in values if isinstance(value, Source)] if len(values) > 1 else []
    if len(sources) > 1:
        list(parallel_map(_ask_version, sources, _LOOKUPS))


def _ask_version(source: Source) -> None:
    source.confirm_version()
    source.version()
