"""Arrays as streams of planes that are hashed on the way.

The content hash of an array is the 16 hex digits of xxh3_64 over the ASCII text
`f"{dtype},{shape},"` followed by the elements in C order and native byte order. It does not depend
on memory layout, chunking, file format or whether the array was ever in memory whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from cpr.data.array_memory import canonical, dtype_text, require_unmasked
from cpr.data.lazy_arrays import compute, is_lazy_array, slabs, split
from cpr.errors import EncodeError
from cpr.format import Stream
from cpr.io.hashing import CACHED_BYTES, ContentDigest, Digest, content_digest
from cpr.records.usage_errors import remedy_for_no_data

__all__ = ["Planes", "hash_array", "held_or_streamed"]

# Hashing an array that is not contiguous copies pieces of at least this size, never all of it.
_PIECE_BYTES = 1 << 16
# Of less the memory is not told: to look after so many pieces would take longer than to copy them.
_LASTING_BYTES = 1 << 16
# Planes are copied before they are hashed, unless one is so large that memory is the greater worry.
_COPIED_BYTES = 1 << 28


def hash_array(array: np.ndarray[Any, Any], also: Digest | None = None) -> str:
    """The content hash (16 hex digits) of an array with any memory layout, without copying it.

    Args:
        array: to hash.
        also: another digest, updated with the same bytes.

    >>> hash_array(np.arange(3, dtype=">u2")) == hash_array(np.arange(3, dtype="<u2"))
    True
    """
    plane_ndim = array.ndim
    if not array.flags.c_contiguous:
        plane_ndim = 1
        while (
            plane_ndim < array.ndim and math.prod(array.shape[-plane_ndim:]) * array.itemsize < _PIECE_BYTES
        ):
            plane_ndim += 1
    return Planes(array, plane_ndim=plane_ndim).digest(also)


def held_or_streamed(data: Any, shape: tuple[int, ...] | None = None, dtype: Any = None) -> Any:
    """Convert the argument of `set_data`: a numpy array to hold, or planes to stream.

    Numpy arrays, numbers and nested sequences are arrays in memory; lazy arrays (see `is_lazy_array`),
    and everything given with a shape, are streamed. Raises EncodeError for what is neither, and for
    masked arrays, whose mask no file format here can hold.
    """
    if isinstance(data, (Planes, Stream)):
        return data
    if (meant := remedy_for_no_data(data)) is not None:
        raise _not_an_array(data, meant)
    require_unmasked(data)
    if is_lazy_array(data):
        return Planes(data)
    if shape is not None and not isinstance(data, np.ndarray):
        return Planes(data, shape, dtype)
    is_array = isinstance(data, (np.ndarray, np.generic, int, float, complex, list, tuple))
    if not is_array and (remedy := _no_array(data)) is not None:
        raise _not_an_array(data, remedy)
    if is_array or hasattr(data, "__array__"):
        return _in_memory(data, shape, dtype)
    return Planes(data, shape, dtype)


def _not_an_array(data: object, remedy: str) -> EncodeError:
    actual = type(data).__name__
    return EncodeError("not an array", field="data", expected="an array", actual=actual, remedy=remedy)


def _no_array(data: Any) -> str | None:
    """Advice for an argument that is not an array, though numpy or an iteration may accept it."""
    if hasattr(data, "columns") and hasattr(data, "__array__"):
        return "store a table as one: CSVTarget or ParquetTarget; or give its values: table.to_numpy()"
    if any(hasattr(data, name) for name in ("__array__", "shape")):
        return None
    if isinstance(data, Iterable) and not isinstance(data, (Mapping, AbstractSet)):
        return None
    if isinstance(data, Mapping):
        return "fill a target with each of its values"
    return "give a numpy array, or its planes one after the other with shape= and dtype="


def _in_memory(data: Any, shape: tuple[int, ...] | None, dtype: Any) -> np.ndarray[Any, Any]:
    if not isinstance(data, np.ndarray) and hasattr(data, "__array__"):
        data = data.__array__()
        require_unmasked(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise EncodeError(
            "the planes do not make an array",
            field="data",
            expected="planes of one shape",
            actual=str(error),
            remedy="give every plane the same shape",
        ) from None
    if array.dtype.hasobject:
        raise _holds_objects(array.dtype)
    announced = (
        ("shape", None if shape is None else tuple(shape), array.shape),
        ("dtype", None if dtype is None else np.dtype(dtype), array.dtype),
    )
    for field, expected, actual in announced:
        if expected is not None and actual != expected:
            raise EncodeError(
                f"the array has another {field} than announced",
                field=field,
                expected=str(expected),
                actual=str(actual),
                remedy=f"leave {field}= out: an array tells it",
            )
    return array


def _holds_objects(dtype: np.dtype[Any]) -> EncodeError:
    return EncodeError(
        "arrays of Python objects cannot be stored",
        field="dtype",
        expected="a numeric dtype",
        actual=str(dtype),
        remedy="convert it first: array.astype(float)",
    )


class Planes(Stream[np.ndarray[Any, Any]]):
    """An array of known shape and dtype as a stream of C-contiguous planes in native byte order.

    Args:
        data: a numpy array, a lazy one (dask, zarr, h5py, memmap), or an iterable of planes or slabs:
            each item has the trailing shape of `shape` or some whole number of planes.
        shape: of the whole array; needed with an iterable.
        dtype: of every element; needed with an iterable.
        plane_ndim: how many trailing axes make a plane, 2 or, for interleaved colours, 3.

    The number of planes is `prod(shape[:-plane_ndim])`. Raises EncodeError when an iterable does
    not hold what `shape` and `dtype` say.

    >>> planes = Planes(iter([np.zeros((4, 5)), np.ones((4, 5))]), shape=(2, 4, 5), dtype=float)
    >>> [plane.shape for plane in planes]
    [(4, 5), (4, 5)]
    """

    def __init__(
        self,
        data: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        plane_ndim: int = 2,
    ) -> None:
        if shape is None or dtype is None:
            if not (hasattr(data, "shape") and hasattr(data, "dtype")):
                raise EncodeError(
                    "an iterable of planes does not tell its size",
                    field="shape, dtype",
                    expected="shape= and dtype= beside the iterable",
                    actual=type(data).__name__,
                    remedy="set_data(planes, shape=(n, y, x), dtype='uint16')",
                )
            shape = tuple(data.shape) if shape is None else shape
            dtype = data.dtype if dtype is None else dtype
        if not (hasattr(data, "shape") or isinstance(data, Iterable)):
            raise EncodeError(
                "this is neither an array nor an iterable of planes",
                field="data",
                expected="an array, or planes of it one by one",
                actual=type(data).__name__,
                remedy="np.full(shape, value) is an array of one value",
            )
        if any(n != n for n in shape):  # noqa: PLR0124 - NaN
            raise EncodeError(
                "the array does not know its size",
                field="shape",
                expected="chunks of known sizes",
                actual=str(shape),
                remedy="compute them: array.compute_chunk_sizes()",
            )
        self.shape: tuple[int, ...] = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
        if self.dtype.hasobject:
            raise _holds_objects(self.dtype)
        self.plane_shape: tuple[int, ...] = _last(self.shape, plane_ndim)
        self._data = data
        self._fingerprint: str | None = None
        # The piece that has passed last, and where its bytes stay.
        self._passing: np.ndarray[Any, Any] | None = None
        self._lasting: memoryview | None = None

    @classmethod
    def of(cls, data: Any, plane_ndim: int = 2) -> Planes:
        """Return `data` if it is a stream of planes already, else a new stream over it."""
        if isinstance(data, cls):
            data.plane_shape = _last(data.shape, plane_ndim)
            return data
        return cls(data, plane_ndim=plane_ndim)

    @property
    def array(self) -> np.ndarray[Any, Any] | None:
        """The array, if it is in memory."""
        return self._data if type(self._data) is np.ndarray else None

    @property
    def count(self) -> int:
        """Number of planes; 0 if any axis is empty."""
        return math.prod(self.shape[: len(self.shape) - len(self.plane_shape)])

    @property
    def nbytes(self) -> int:
        """Size of the elements in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def fingerprint(self) -> str:
        """The content hash; known after the last plane."""
        if self._fingerprint is None:
            raise RuntimeError("the planes have not passed yet")
        return self._fingerprint

    def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
        digest = ContentDigest()
        digest.update(self._head())
        for plane in self._planes(private=True):
            digest.update(_bytes(plane))
            if self.on_piece is not None:
                self.on_piece(plane)
            yield plane
        self._fingerprint, self.content = digest.hexdigest(), digest.second()

    @property
    def _is_fresh(self) -> bool:
        """Whether the planes are computed for this stream, so that nobody else uses their memory."""
        return is_lazy_array(self._data) and not isinstance(self._data, np.memmap)

    def pieces(self) -> Iterator[memoryview]:
        """The bytes of the elements, in pieces small enough for the CPU cache.

        A piece is good until the next one is asked for.
        """
        digest = ContentDigest()
        digest.update(self._head())
        # Whatever happens to a plane meanwhile, what is stored is what was hashed.
        copied = None if self._is_fresh else np.empty(CACHED_BYTES, np.uint8)
        for plane in self._planes():
            elements = _bytes(plane)
            lasts = elements.nbytes >= _LASTING_BYTES and self._is_held(plane)
            for start in range(0, elements.nbytes, CACHED_BYTES):
                piece = elements[start : start + CACHED_BYTES]
                if copied is not None:
                    self._lasting = piece if lasts else None
                    self._passing = copied[: piece.nbytes]
                    self._passing[:] = piece
                    piece = self._passing.data
                digest.update(piece)
                yield piece
            if self.on_piece is not None:
                self.on_piece(plane)
        self._lasting = self._passing = None
        self._fingerprint, self.content = digest.hexdigest(), digest.second()

    def _is_held(self, plane: np.ndarray[Any, Any]) -> bool:
        """Whether a plane is a view of an array in memory."""
        return self.array is not None and np.may_share_memory(plane, self.array)

    def lasting(self, piece: memoryview) -> memoryview | None:
        """The memory of the latest piece, if it belongs to an array in memory."""
        passing: Any = self._passing
        return self._lasting if passing is not None and piece.obj is passing else None

    def digest(self, also: Digest | None = None) -> str:
        """The content hash, computed now by reading all planes without copying; see `hash_array`."""
        digest: Digest = content_digest()
        for one in filter(None, (digest, also)):
            one.update(self._head())
        for plane in self._planes():
            for one in filter(None, (digest, also)):
                one.update(_bytes(plane))
        self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _head(self) -> bytes:
        return f"{dtype_text(self.dtype)},{self.shape},".encode("ascii", "backslashreplace")

    def _planes(self, private: bool = False) -> Iterator[np.ndarray[Any, Any]]:
        """The planes; with `private`, sharing no memory with their source, which may reuse it."""
        small = math.prod(self.plane_shape) * self.dtype.itemsize <= _COPIED_BYTES
        passed = 0
        for item in slabs(self._data, len(self.shape) - len(self.plane_shape)):
            slab = compute(item)  # planes may be lazy themselves
            require_unmasked(slab)
            slab = np.asarray(slab)
            if slab.dtype.newbyteorder("=") != self.dtype:
                raise EncodeError(
                    f"plane {passed} has another dtype",
                    field="dtype",
                    expected=str(self.dtype),
                    actual=str(slab.dtype),
                    remedy="give every plane the dtype that was announced: plane.astype(dtype)",
                )
            if not self._is_whole_planes(slab.shape):
                raise EncodeError(
                    f"plane {passed} has another shape",
                    field="shape",
                    expected=f"whole planes of {self.plane_shape}",
                    actual=str(slab.shape),
                    remedy="yield planes in C order, each of the last axes of shape",
                )
            copy = True if private and small and not (self._is_fresh and slab.flags.owndata) else None
            for plane in split(slab, len(self.plane_shape)):
                passed += 1
                if passed > self.count:
                    break
                yield canonical(np.array(plane, self.dtype, copy=copy, order="C"))
        if passed != self.count and self.nbytes:
            raise EncodeError(
                "the iterable holds another number of planes",
                field="shape",
                expected=f"{self.count} planes for shape {self.shape}",
                actual=f"{'at least ' if passed > self.count else ''}{passed}",
                remedy="announce the shape that the planes add up to",
            )

    def _is_whole_planes(self, shape: tuple[int, ...]) -> bool:
        return len(self.plane_shape) <= len(shape) <= len(self.shape) and (
            shape[len(shape) - len(self.plane_shape) :] == self.plane_shape
        )


def _bytes(plane: np.ndarray[Any, Any]) -> memoryview:
    # datetime64 has no buffer interface; its bytes are hashed all the same.
    return plane.reshape(-1).view(np.uint8).data if plane.nbytes else memoryview(b"")


def _last(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    return shape[max(0, len(shape) - count) :]
