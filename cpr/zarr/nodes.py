"""Arrays and groups as readers get them: zarr's own, that raise typed errors.

What a codec raises for a chunk that it cannot decode (RuntimeError, OSError, anything) comes out of
`array[...]`, wherever that is called. So the codecs of an array are wrapped, and a group wraps the codecs of
what is taken from it.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import zarr

from cpr.data.array_memory import read_only
from cpr.errors import CprError, DecodeError
from cpr.zarr.concurrency import WideCodecs, widen
from cpr.zarr.zarr_internals import async_group_of

__all__ = ["Node", "decoding", "own_copy", "with_typed_errors"]

Node = zarr.Array[Any] | zarr.Group


@contextmanager
def decoding(url: str) -> Iterator[None]:
    """What zarr and its codecs raise for metadata and chunks that are broken, as DecodeError.

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
    """The codecs of an array; what they raise while they read is a DecodeError."""

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        with decoding(self._url):
            return await super().read(*args, **kwargs)


class _Group(zarr.Group):
    def __getitem__(self, path: str | int) -> Any:
        path = str(path)  # plate["A"]["1"][0], as zarr 2 took it
        with decoding(str(self.store_path / path)):
            try:
                return with_typed_errors(super().__getitem__(path))
            except KeyError as error:
                missing = error
        raise missing

    def members(self, *args: Any, **kwargs: Any) -> tuple[tuple[str, Any], ...]:
        with decoding(str(self.store_path)):
            found = super().members(*args, **kwargs)
        return tuple((name, with_typed_errors(node)) for name, node in found)

    def arrays(self) -> Generator[tuple[str, Any], None]:
        with decoding(str(self.store_path)):
            found = list(super().arrays())
        for name, array in found:
            yield name, with_typed_errors(array)

    def groups(self) -> Generator[tuple[str, Any], None]:
        with decoding(str(self.store_path)):
            found = list(super().groups())
        for name, group in found:
            yield name, with_typed_errors(group)


def with_typed_errors(node: Any) -> Any:
    """The array or group, for reading: broken chunks, and broken metadata below it, raise DecodeError."""
    if isinstance(node, zarr.Group):
        return _Group(async_group_of(node))
    widen(node, _Codecs)
    return node


def own_copy(held: Any) -> Any:
    """What a reader gets of a node or array that is held for others: nothing done to it changes that one."""
    if isinstance(held, np.ndarray):
        return read_only(held)
    return copy.deepcopy(held)  # of an array or group the metadata alone
