"""Describes numpy arrays as JSON values for cache keys: dtype, shape, elements, mask and attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cpr.data.arrays import hash_array
from cpr.io.hashing import default_algorithm, is_forgery_proof, new_digest
from cpr.prefect.class_members import state_of
from cpr.prefect.qualified_names import name_of

__all__ = ["describe_array", "dtype_options", "exact"]

Describe = Callable[[Any, str], Any]
_OF_MASKED = frozenset(
    "_mask _data _fill_value _hardmask _sharedmask _isfield _baseclass _optinfo _basedict __weakref__".split()
)


def exact(array: np.ndarray[Any, Any]) -> list[Any]:
    """An array by dtype, shape and elements; byte order and layout in memory make no difference."""
    if array.dtype.kind in "mM":
        # Times hash as the numbers they are stored as, beside their unit.
        unit = np.datetime_data(array.dtype)
        return [unit, array.dtype.kind, *_digests(array.view(f"{array.dtype.str[0]}i8"))]
    return _digests(array)


def _digests(array: np.ndarray[Any, Any]) -> list[str]:
    """The content hash, and where results are to stand against forgers a digest that they cannot make."""
    algorithm = default_algorithm()
    if not is_forgery_proof(algorithm):
        return [hash_array(array)]
    digest = new_digest(algorithm)
    return [hash_array(array, digest), f"{algorithm}:{digest.hexdigest()}"]


def describe_array(value: np.ndarray[Any, Any], path: str, describe: Describe) -> list[Any]:
    """The description of an array, of numpy's class or another one.

    Args:
        value: the array.
        path: how errors call it.
        describe: describes objects, masks and what else it keeps.
    """
    plain = np.asarray(np.ma.getdata(value) if isinstance(value, np.ma.MaskedArray) else value)
    described: list[Any] = ["array", *_elements(plain, path, describe)]
    if isinstance(value, np.ma.MaskedArray):
        # Elements under the mask count too, for code may look at them.
        mask = np.ma.getmaskarray(value)
        marks = exact(mask if mask.dtype.names is None else np.frombuffer(mask.tobytes(), "u1"))
        described = ["masked", *described[1:], *marks, describe(value.fill_value, path)]
        if value.hardmask:
            described.append("hard mask")
    more = dtype_options(value.dtype)
    if more:
        described.append(describe(more, path))
    cls = type(value)
    if cls in (np.ndarray, np.memmap):
        return described
    # Of a quantity with a unit, say, the unit.
    kept = {name: one for name, one in state_of(value).items() if name not in _OF_MASKED}
    return [*described, name_of(cls), {name: describe(one, f"{path}.{name}") for name, one in kept.items()}]


def _elements(value: np.ndarray[Any, Any], path: str, describe: Describe) -> list[Any]:
    if not value.dtype.hasobject:
        return exact(value)
    dtype = "object" if value.dtype.names is None else str(value.dtype)
    return [dtype, list(value.shape), describe(value.ravel().tolist(), path)]


def dtype_options(dtype: np.dtype[Any]) -> dict[str, Any]:
    """What a dtype says besides its name, where it says anything, and what those of its fields say."""
    found: dict[str, Any] = {} if dtype.metadata is None else {"metadata": dict(dtype.metadata)}
    if dtype.type is np.record:
        found["type"] = "record"  # whose fields are attributes of the elements
    if dtype.kind == "T":
        options = {name: getattr(dtype, name, None) for name in ("na_object", "coerce")}
        found |= {name: one for name, one in options.items() if one is not None}
    inner = {name: dtype_options(dtype[name]) for name in dtype.names or ()}
    inner |= {"items": dtype_options(dtype.base)} if dtype.base is not dtype else {}
    inner = {name: one for name, one in inner.items() if one}
    return {**found, "fields": inner} if inner else found
