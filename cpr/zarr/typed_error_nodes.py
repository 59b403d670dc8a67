"""Zarr arrays and groups whose errors are cpr's.

A codec may raise any exception (RuntimeError, OSError, anything) for a chunk that it cannot decode, and it
comes out of `array[...]`. So the codecs of an array are wrapped, and a group wraps the codecs of the arrays
that are taken from it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import zarr
from zarr.storage import StorePath

from cpr.data.array_memory import read_only, require_text
from cpr.errors import CprError, DecodeError, UsageError
from cpr.zarr.bounded_text_codecs import counted
from cpr.zarr.concurrency import WideCodecs, widen
from cpr.zarr.stores.vanished import metadata_of, noting, require_there
from cpr.zarr.zarr_internals import async_group_of, sync, wrap_codecs

__all__ = ["Node", "decoding", "named_array", "own_copy", "with_typed_errors"]

Node = zarr.Array[Any] | zarr.Group
T = TypeVar("T")


@contextmanager
def decoding(url: str) -> Iterator[None]:
    """Convert errors of zarr and its codecs for malformed metadata and chunks to DecodeError.

    zarr trusts what it reads: what others have put there makes it fail in many ways.
    """
    try:
        yield
    except CprError:
        raise
    except Exception as error:
        raise DecodeError(
            "not a Zarr that can be read",
            url=url,
            expected="metadata and chunks as the specification has them",
            actual=f"{type(error).__name__}: {ascii(str(error))[:200]}",
            remedy="restore the Zarr, or write it again with the program it comes from",
        ) from error


class _Codecs(WideCodecs):
    """The codecs of an array; a read error becomes a DecodeError, if the array still exists.

    Args:
        place: of the array in its store.
        metadata: the name of the object that makes it an array.
        wide: as for all.
    """

    def __init__(self, place: StorePath, metadata: str, *wide: Any) -> None:
        super().__init__(*wide)
        self._place = place
        self._metadata = metadata

    async def read(self, batch_info: Iterable[Any], out: Any, *args: Any, **kwargs: Any) -> Any:
        place = self._place.store, self._place.path, self._metadata
        with noting() as noted:
            try:
                with decoding(self._url):
                    found = await super().read(batch_info, out, *args, **kwargs)
                    require_text(out.as_numpy_array())
            except DecodeError:
                await require_there(*place, noted)
                raise
        await require_there(*place, noted)
        return found


class _Group(zarr.Group):
    def __getitem__(self, path: str | int) -> Any:
        if not isinstance(path, (str, int, np.integer)):
            raise self._no_array(f"[{ascii(path)[:100]}]", self._arrays_inside())
        path = str(path)  # plate["A"]["1"][0], as zarr 2 took it
        with decoding(str(self.store_path / path)):
            try:
                return with_typed_errors(super().__getitem__(path))
            except KeyError as error:
                missing = error
        self._require_there()
        raise missing

    def __contains__(self, member: str) -> bool:
        is_there = super().__contains__(member)
        if not is_there:
            self._require_there()
        return is_there

    def members(self, *args: Any, **kwargs: Any) -> tuple[tuple[str, Any], ...]:
        found = self._found(lambda: super(_Group, self).members(*args, **kwargs))
        return tuple((name, with_typed_errors(node)) for name, node in found)

    def arrays(self) -> Generator[tuple[str, Any], None]:
        for name, array in self._found(lambda: list(super(_Group, self).arrays())):
            yield name, with_typed_errors(array)

    def groups(self) -> Generator[tuple[str, Any], None]:
        for name, group in self._found(lambda: list(super(_Group, self).groups())):
            yield name, with_typed_errors(group)

    def keys(self) -> Generator[str, None]:
        yield from self._found(lambda: list(super(_Group, self).keys()))

    def nmembers(self, *args: Any, **kwargs: Any) -> int:
        return self._found(lambda: super(_Group, self).nmembers(*args, **kwargs))

    def _found(self, ask: Callable[[], T]) -> T:
        """Look something up inside; if it is missing, the group itself may have been deleted."""
        with decoding(str(self.store_path)):
            found = ask()
        self._require_there()
        return found

    def _require_there(self) -> None:
        """Raise ResourceNotFoundError for a deleted group, unless its metadata list all that is inside."""
        if self.metadata.consolidated_metadata is None:
            sync(require_there(self.store_path.store, self.store_path.path, metadata_of(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Only for object arrays; numpy would otherwise make an array of the names inside."""
        if dtype is None or dtype.kind != "O":
            raise self._no_array("__array__", self._arrays_inside())
        whole = np.empty(1, object)
        whole[0] = self
        return whole.reshape(())

    if not TYPE_CHECKING:  # for checkers, what is not there is not there

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and (hasattr(zarr.Array, name) or hasattr(np.ndarray, name)):
                raise self._no_array(name, ())  # without asking the store: many ask whether there is one
            raise AttributeError(f"'Group' object has no attribute {name!r}")

    def _arrays_inside(self) -> list[str]:
        try:
            return sorted(name for name, _ in self.arrays())
        except CprError:
            return []

    def _no_array(self, asked: str, inside: Sequence[str]) -> UsageError:
        """The error for using a group as an array."""
        example = repr(inside[0]) if inside else "'path/of/array'"
        return UsageError(
            f"{self.store_path}: this is a group, not an array",
            field=asked,
            expected=f"one of its arrays, {', '.join(inside[:5])}" if inside else "an array",
            actual="the group",
            remedy=f"take the array: from_path(url, group={example}), or get_data()[{example}][...]",
        )


class _ArrayOfGroup(zarr.Array[Any]):
    """An array that represents its group, whose other arrays are found by name."""

    _of: zarr.Group

    def __getitem__(self, selection: Any) -> Any:
        is_name = isinstance(selection, str) and self.dtype.names is None
        return self._of[selection] if is_name else super().__getitem__(selection)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or not hasattr(zarr.Group, name):
                raise AttributeError(f"'Array' object has no attribute {name!r}")
            return getattr(self._of, name)


def named_array(node: Any, name: str) -> Any:
    """The array of this name in a group, through which the others are accessible; None if missing."""
    found = node.get(name) if isinstance(node, zarr.Group) else None
    if not isinstance(found, zarr.Array):
        return None
    array = _ArrayOfGroup(found.async_array)
    object.__setattr__(array, "_of", node)
    return array


def with_typed_errors(node: Any) -> Any:
    """Wrap an array or group: malformed chunks, and metadata below it, raise DecodeError."""
    if isinstance(node, zarr.Group):
        return _Group(async_group_of(node))
    wrap_codecs(node, counted)
    widen(node, partial(_Codecs, node.store_path, metadata_of(node)))
    return node


def own_copy(held: Any) -> Any:
    """A copy of a cached node or array for a caller, whose changes do not affect the cached one."""
    if isinstance(held, np.ndarray):
        return read_only(held)
    return copy.deepcopy(held)  # of an array or group the metadata alone
