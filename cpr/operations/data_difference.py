"""Measures how much the data of two results differs: pixels, elements, cells, and a picture of where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cpr.previews.thumbnails import encode_png

__all__ = ["Change", "change_between"]

Array = np.ndarray[Any, Any]

_BLOCK = 8 << 20  # elements that are compared at a time
_SIDE = 1024  # pixels of a picture


@dataclass(frozen=True)
class Change:
    """How much some data differs from other data.

    Attributes:
        unit: what is counted: "pixel", "element" or "cell".
        total: how many there are in what both have.
        different: how many of them are not equal; NaN equals NaN.
        largest: the largest difference of two numbers; None where none differ.
        notes: what cannot be counted: other shapes, dtypes, columns.
        picture: PNG of the largest difference at each place, white for the largest of all, at most 1024
            pixels a side; None where there is nothing to see.
    """

    unit: str
    total: int = 0
    different: int = 0
    largest: int | float | None = None
    notes: tuple[str, ...] = ()
    picture: bytes | None = field(default=None, repr=False)


def change_between(old: Any, new: Any) -> Change | None:
    """Compare two values of `get_data()`: arrays, tables, groups of arrays; None for others.

    Lazy arrays are read some blocks at a time.

    >>> change_between(np.array([[1, 2]]), np.array([[1, 9]])).largest
    7
    """
    if hasattr(old, "columns") and hasattr(new, "columns"):
        return _of_tables(old, new)
    before, now = _arrays(old), _arrays(new)
    if not before or not now:
        return None
    shared = [name for name in before if name in now]
    notes = [f"array {name} is gone" for name in before if name not in now]
    notes += [f"array {name} is new" for name in now if name not in before]
    found = [(name, _of_arrays(before[name], now[name])) for name in shared]
    notes += [f"{name}: {note}" if name else note for name, one in found for note in one.notes]
    return Change(
        "pixel" if any(one.unit == "pixel" for _, one in found) else "element",
        sum(one.total for _, one in found),
        sum(one.different for _, one in found),
        max((one.largest for _, one in found if one.largest is not None), default=None),
        tuple(notes),
        next((one.picture for _, one in found if one.picture is not None), None),
    )


def _arrays(data: Any) -> Mapping[str, Any]:
    """The arrays in some data by path; of a pyramid only the largest level."""
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        return {"": data}
    if not hasattr(data, "members"):
        return {}
    found = {path: one for path, one in data.members(max_depth=None) if hasattr(one, "dtype")}

    def is_reduced(path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return name.isdigit() and name != "0" and f"{folder}/0".lstrip("/") in found

    return {path: one for path, one in sorted(found.items()) if not is_reduced(path)}


def _of_arrays(old: Any, new: Any) -> Change:
    notes = [
        f"{name} {_told(getattr(old, name))} -> {_told(getattr(new, name))}"
        for name in ("shape", "dtype")
        if getattr(old, name) != getattr(new, name)
    ]
    shape = tuple(new.shape)
    unit = "pixel" if len(shape) > 1 else "element"
    if tuple(old.shape) != shape:
        return Change(unit, notes=tuple(notes))
    different, largest = 0, None
    drawing = _Drawing(shape)
    for selection in _blocks(shape, drawing.factor):
        a, b = np.asarray(old[selection]), np.asarray(new[selection])
        unequal = _unequal(a, b)
        count = int(np.count_nonzero(unequal))
        if not count:
            continue
        different += count
        distance = _distance(a, b)
        if distance is None:
            drawing.add(selection, unequal)
            continue
        found = distance[unequal]
        found = found[~np.isnan(found)] if found.dtype.kind == "f" else found
        if len(found):
            largest = max(largest or 0, found.max().item())
        drawing.add(selection, np.where(unequal, distance, 0))
    return Change(unit, math.prod(shape), different, largest, tuple(notes), drawing.png())


def _told(value: Any) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _blocks(shape: tuple[int, ...], multiple: int) -> Iterator[tuple[slice, ...]]:
    """Blocks that cover an array, at most `_BLOCK` elements each if whole picture rows allow that."""
    axis = next((n for n in range(len(shape)) if math.prod(shape[n + 1 :]) <= _BLOCK), 0)
    if not shape:
        yield ()
        return
    step = max(1, _BLOCK // max(1, math.prod(shape[axis + 1 :])))
    if axis >= len(shape) - 3:
        step = max(multiple, step - step % multiple)
    for lead in np.ndindex(*shape[:axis]):
        for start in range(0, shape[axis], step):
            yield (*(slice(one, one + 1) for one in lead), slice(start, min(start + step, shape[axis])))


def _unequal(a: Array, b: Array) -> Array:
    try:
        found = np.asarray(a != b, np.bool_)
    except TypeError:  # of numpy: records and numbers, or records of other fields
        return np.ones(np.broadcast_shapes(a.shape, b.shape), np.bool_)
    if a.dtype.kind in "fc" and b.dtype.kind in "fc":
        found &= ~(np.isnan(a) & np.isnan(b))
    return found


def _distance(a: Array, b: Array) -> Array | None:
    """The absolute difference of numbers of any width; None for anything else."""
    kinds = {a.dtype.kind, b.dtype.kind}
    if kinds == {"b"}:
        return np.asarray(a != b, np.uint8)
    if kinds <= set("iub") and np.result_type(a, b).kind in "iu":
        # As unsigned numbers they go round, and come out right.
        high, low = (np.asarray(one).astype(np.uint64) for one in (np.maximum(a, b), np.minimum(a, b)))
        return np.asarray(high - low)
    if kinds <= set("iubfc"):
        wide = np.complex128 if "c" in kinds else np.float64
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(np.abs(a.astype(wide) - b.astype(wide)))
    return None


class _Drawing:
    """The largest difference at each position of a plane, over all other axes.

    Attributes:
        factor: how many rows and columns come to one of the picture.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._colours = len(shape) > 2 and shape[-1] in (3, 4)
        plane = shape[:-1] if self._colours else shape
        self._ndim = len(plane)
        self._seen = len(plane) > 1 and 0 not in shape
        height, width = plane[-2:] if self._seen else (1, 1)
        self.factor = -(-max(height, width) // _SIDE)
        self._pixels = np.zeros((-(-height // self.factor), -(-width // self.factor)), np.float64)

    def add(self, selection: tuple[slice, ...], found: Array) -> None:
        """Add the differences of a block."""
        if not self._seen:
            return
        values = np.nan_to_num(found.astype(np.float64), nan=np.inf)
        if self._colours:
            values = values.max(axis=-1)
        values = values.reshape(-1, *values.shape[-2:]).max(axis=0)
        for axis in (0, 1):
            values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], self.factor), axis=axis)
        full = (*selection, *(slice(0, None),) * self._ndim)[: self._ndim]
        y, x = (one.start // self.factor for one in full[-2:])
        place = self._pixels[y : y + values.shape[0], x : x + values.shape[1]]
        np.maximum(place, values, out=place)

    def png(self) -> bytes | None:
        """The picture; None if nothing differs."""
        if not self._pixels.any():
            return None
        finite = self._pixels[np.isfinite(self._pixels)]
        largest = max(float(finite.max(initial=0.0)), 1e-300)
        grey = np.clip(self._pixels / largest * 255, 0, 255)
        # What differs at all is seen.
        return encode_png(np.where(self._pixels > 0, np.maximum(grey, 32), 0))


def _of_tables(old: Any, new: Any) -> Change:
    before, now = list(old.columns), list(new.columns)
    notes = [f"column {name} is gone" for name in before if name not in now]
    notes += [f"column {name} is new" for name in now if name not in before]
    if len(old) != len(new):
        notes.append(f"{len(old)} -> {len(new)} rows")
    rows = min(len(old), len(new))
    total, different, largest = 0, 0, None
    shared = [name for name in before if name in now and before.count(name) == now.count(name) == 1]
    columns = [(old[name], new[name]) for name in shared]
    columns.append((old.index.to_series(), new.index.to_series()))
    for position, pair in enumerate(columns):
        a, b = (one.iloc[:rows].reset_index(drop=True) for one in pair)
        if a.dtype != b.dtype and position < len(shared):
            notes.append(f"column {shared[position]}: dtype {a.dtype} -> {b.dtype}")
        unequal = _unequal_cells(a, b)
        is_index = position == len(shared)
        if is_index:
            if unequal.any():
                notes.append("the index differs")
            continue
        total += rows
        different += int(np.count_nonzero(unequal))
        numbers = [one.dtype.kind in "iufb" for one in (a, b)]
        if all(numbers) and unequal.any():
            distance = _distance(np.asarray(a)[unequal], np.asarray(b)[unequal])
            if distance is not None and len(known := distance[~np.isnan(distance)]):
                largest = max(largest or 0, known.max().item())
    return Change("cell", total, different, largest, tuple(notes))


def _unequal_cells(a: Any, b: Any) -> Array:
    missing = np.asarray(a.isna()), np.asarray(b.isna())
    left, right = np.asarray(a, object), np.asarray(b, object)
    same = np.fromiter(
        # What is missing may be pandas.NA, which equals nothing and has no truth.
        (
            not gone and bool(np.all(one == other))
            for one, other, gone in zip(left, right, missing[0] | missing[1], strict=True)
        ),
        np.bool_,
        len(left),
    )
    return np.asarray(~(same | (missing[0] & missing[1])))
