"""What an array of numpy is, as JSON values: dtype, shape, elements, mask, and what else it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cpr.data.arrays import hash_array
from cpr.prefect.class_members import state_of

__all__ = ["array_options", "attributes_of_array", "describe_dtype", "describe_masked", "exact"]

Describe = Callable[[Any, str], Any]
_OF_MASKED = frozenset(
    "_mask _data _fill_value _hardmask _sharedmask _isfield _baseclass _optinfo _basedict".split()
)


def exact(array: np.ndarray[Any, Any]) -> list[Any]:
    """An array by dtype, shape and elements; byte order and layout in memory make no difference."""
    if array.dtype.kind in "mM":
        # Times hash as the numbers they are stored as, beside their unit.
        unit = np.datetime_data(array.dtype)
        return [unit, array.dtype.kind, hash_array(array.view(f"{array.dtype.str[0]}i8"))]
    return [hash_array(array)]


def describe_dtype(dtype: np.dtype[Any]) -> str:
    """A dtype with objects in it: "object", or its fields."""
    return "object" if dtype.names is None else str(dtype)


def describe_masked(value: np.ma.MaskedArray[Any, Any], path: str, describe: Describe) -> list[Any]:
    """Elements, those under the mask too, for code may look at them; mask and fill value."""
    fill = describe(value.fill_value, path)
    mask = hash_array(np.ma.getmaskarray(value))
    described = [*exact(np.asarray(value.data)), mask, fill]
    return [*described, "hard mask"] if value.hardmask else described


def array_options(value: np.ndarray[Any, Any]) -> dict[str, Any]:
    """What a dtype says besides its name, where it says anything."""
    found = {"metadata": None if value.dtype.metadata is None else dict(value.dtype.metadata)}
    if value.dtype.kind == "T":
        found |= {name: getattr(value.dtype, name, None) for name in ("na_object", "coerce")}
    return {name: one for name, one in found.items() if one is not None}


def attributes_of_array(value: np.ndarray[Any, Any]) -> dict[str, Any]:
    """What an array of a class of its own keeps beside the elements."""
    return {name: one for name, one in state_of(value).items() if name not in _OF_MASKED}
