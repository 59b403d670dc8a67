"""The layout of a plate: names of rows, columns and wells, and the position of each image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cpr.errors import PartError, UsageError
from cpr.zarr.ome.metadata import VERSION
from cpr.zarr.options import option_error

__all__ = ["OMEPlateOptions", "Place", "find_name", "placed", "plate_metadata", "well_metadata"]

_NAME = re.compile(r"[A-Za-z0-9]+")
_WELL = re.compile(r"([A-Za-z]+)/?([0-9]+)")
_EXAMPLE = 'plate.set_data({("A", 1): [image]}), with rows="AB", columns=3'


@dataclass(frozen=True)
class OMEPlateOptions:
    """The layout of a plate. The files contain it, so records omit it.

    Attributes:
        rows: names, or how many: A, B ... Z, AA; by default those of the wells that are given.
        columns: names, or how many: 1, 2, ...; likewise.
        acquisitions: id -> name, of images that were taken one after another.
        name: of the plate; that of the target by default.
    """

    extensions: ClassVar[tuple[str, ...]] = (".ome.zarr", ".zarr")
    recorded: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[None] = None  # it is no array
    base: ClassVar[Literal[False]] = False  # its images lie in other folders than an earlier plate

    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    acquisitions: Mapping[int, str] | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for field in ("rows", "columns"):
            value: Any = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, _names(field, value))
        if self.acquisitions is not None:
            pairs = self.acquisitions.items() if isinstance(self.acquisitions, Mapping) else [(None, None)]
            if not all(
                type(number) is int and number >= 0 and isinstance(name, str) for number, name in pairs
            ):
                raise option_error("acquisitions", '{1: "before", 2: "after"}', self.acquisitions, _EXAMPLE)
            object.__setattr__(self, "acquisitions", dict(self.acquisitions))
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise option_error("name", "text, or None", self.name, _EXAMPLE)


def _names(field: str, value: Any) -> tuple[str, ...]:
    if type(value) is int and 1 <= value <= 702:
        if field == "columns":
            return tuple(str(number + 1) for number in range(value))
        letters = [chr(ord("A") + n) for n in range(26)]
        return tuple([*letters, *(a + b for a in letters for b in letters)][:value])
    names = tuple(str(one) for one in value) if isinstance(value, (str, list, tuple, range)) else ()
    distinct = len({name.lower() for name in names}) == len(names)
    if not names or not distinct or not all(_NAME.fullmatch(name) for name in names):
        expected = "a number, or names of letters and digits, also different on disks that ignore case"
        raise option_error(field, expected, value, _EXAMPLE)
    return names


def find_name(names: Iterable[str], wanted: Any) -> str | None:
    """Find the name of a row or column, given as "B", 3, or "03" for 3; None if there is none.

    Where 1 might be two of them, "1" and "01", it is the one that is spelled like that, or none.
    """
    text, equal = str(wanted), []
    for name in names:
        if name == text:
            return name
        # Compared as texts: numbers of thousands of digits are none to Python.
        if name.isdecimal() and text.isdecimal() and name.lstrip("0") == text.lstrip("0"):
            equal.append(name)
    return equal[0] if len(equal) == 1 else None


@dataclass(frozen=True)
class Place:
    """The position of an image in a plate.

    Attributes:
        row: name.
        column: name.
        field: number in the well.
        acquisition: id; None of a plate without.
        image: the target at this position.
    """

    row: str
    column: str
    field: int
    acquisition: int | None
    image: Any

    @property
    def well(self) -> str:
        """Path of the well."""
        return f"{self.row}/{self.column}"

    @property
    def path(self) -> str:
        """Path of the image."""
        return f"{self.well}/{self.field}"


def placed(options: OMEPlateOptions, wells: Any, url: str, fill: bool) -> tuple[OMEPlateOptions, list[Place]]:
    """Names of rows and columns, and the position of each image.

    Args:
        options: of the plate.
        wells: (row, column) -> images, as `OMEPlateTarget.set_data` takes them.
        url: of the plate, for errors.
        fill: whether wells may be empty.

    Raises PartError and UsageError.
    """
    if not isinstance(wells, Mapping) or len(wells) == 0:
        raise UsageError(
            "a plate is filled with the images of its wells",
            url=url,
            expected='{("A", 1): [image, image], ...}',
            actual="an empty dict" if isinstance(wells, Mapping) else type(wells).__name__,
            remedy=_EXAMPLE,
        )
    keys = {key: _split(key, url) for key in wells}
    rows = options.rows or tuple(
        sorted({row for row, _ in keys.values()}, key=lambda name: (len(name), name))
    )
    columns = options.columns or tuple(
        sorted({column for _, column in keys.values()}, key=lambda name: (len(name), name))
    )
    options = OMEPlateOptions(
        _names("rows", rows), _names("columns", columns), options.acquisitions, options.name
    )
    found: dict[tuple[str, str], Any] = {}
    for key, (given_row, given_column) in keys.items():
        row, column = find_name(rows, given_row), find_name(columns, given_column)
        if row is None or column is None:
            expected = f"rows {', '.join(rows)} and columns {', '.join(columns)}"
            raise _part_error(
                "this well is not on the plate", url, key, expected, "give from_path rows= and columns="
            )
        if (row, column) in found:
            raise _part_error(
                "this well is given twice", url, key, "each well once", "give its images in one list"
            )
        found[row, column] = wells[key]
    missing = [f"{row}{column}" for row in rows for column in columns if (row, column) not in found]
    if missing and not fill:
        raise PartError(
            "wells are missing",
            url=url,
            field="wells",
            expected=f"images of all {len(rows)} x {len(columns)} wells",
            actual=f"none of {', '.join(missing[:10])}{' ...' if len(missing) > 10 else ''}",
            remedy="give them, or fill=True where wells are empty",
        )
    order = [(row, column) for row in rows for column in columns if (row, column) in found]
    places = [place for row, column in order for place in _fields(row, column, found[row, column], url)]
    _require_acquisitions(options, places, url)
    return options, places


def _split(key: Any, url: str) -> tuple[str, str]:
    if isinstance(key, tuple) and len(key) == 2:
        return str(key[0]), str(key[1])
    if isinstance(key, str) and (match := _WELL.fullmatch(key)):
        return match[1], match[2]
    raise _part_error("no name of a well", url, key, '("B", 3), or "B3"', "name wells by row and column")


def _fields(row: str, column: str, value: Any, url: str) -> Iterator[Place]:
    taken: Mapping[int | None, Any] = value if isinstance(value, Mapping) else {None: value}
    number = 0
    for acquisition, some in taken.items():
        images = list(some) if isinstance(some, (list, tuple)) else [some]
        if not images:
            raise _part_error(
                "a well without images", url, (row, column), "one or more", "leave it out, with fill=True"
            )
        for image in images:
            yield Place(row, column, number, acquisition, image)
            number += 1


def _require_acquisitions(options: OMEPlateOptions, places: Sequence[Place], url: str) -> None:
    known = options.acquisitions
    has_some = known is not None or any(place.acquisition is not None for place in places)
    for place in places if has_some else ():
        number = place.acquisition
        if type(number) is not int or number < 0 or (known is not None and number not in known):
            expected = f"{{id: images}}, of {', '.join(map(str, known)) if known else 'numbers from 0 on'}"
            remedy = 'say of all images in which acquisition they were taken: {("A", 1): {1: [image]}}'
            raise _part_error(
                "an acquisition that is not known", url, (place.row, place.column), expected, remedy
            )


def _part_error(problem: str, url: str, well: Any, expected: str, remedy: str) -> PartError:
    return PartError(
        problem, url=url, field="wells", expected=expected, actual=f"well {well!r}"[:200], remedy=remedy
    )


def plate_metadata(options: OMEPlateOptions, places: Sequence[Place], name: str) -> dict[str, Any]:
    """The attributes of a plate's group."""
    rows, columns = options.rows or (), options.columns or ()
    wells = dict.fromkeys((place.row, place.column) for place in places)
    plate: dict[str, Any] = {
        "version": VERSION,
        "name": options.name or name,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
            for row, column in wells
        ],
        "field_count": max(place.field for place in places) + 1,
    }
    named = options.acquisitions or {}
    ids = sorted({*named, *(place.acquisition for place in places if place.acquisition is not None)})
    if ids:
        plate["acquisitions"] = [{"id": one, **({"name": named[one]} if one in named else {})} for one in ids]
    return {"ome": {"version": VERSION, "plate": plate}}


def well_metadata(places: Iterable[Place]) -> dict[str, Any]:
    """The attributes of a well's group."""
    images = [
        {"path": str(one.field), **({} if one.acquisition is None else {"acquisition": one.acquisition})}
        for one in places
    ]
    return {"ome": {"version": VERSION, "well": {"version": VERSION, "images": images}}}
