"""Validates the untrusted metadata of plates and wells, version 0.4 or 0.5.

Sources: https://ngff.openmicroscopy.org/0.4/#plate-md and https://ngff.openmicroscopy.org/0.5/#plate-md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cpr.errors import FormatError
from cpr.zarr.ome.schema import VERSIONS, bad_metadata, is_inside, ome_of

__all__ = ["PlateJson", "WellJson", "plate_of", "well_of"]

_MOST = 100_000
_Text = Annotated[str, StringConstraints(max_length=1000)]
_Path = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class _Json(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Named(_Json):
    name: _Path


class _Acquisition(_Json):
    id: Annotated[int, Field(ge=0)]
    name: _Text | None = None


class _Well(_Json):
    path: _Path


class PlateJson(_Json):
    """The metadata of a plate's group."""

    rows: Annotated[list[_Named], Field(min_length=1, max_length=_MOST)]
    columns: Annotated[list[_Named], Field(min_length=1, max_length=_MOST)]
    wells: Annotated[list[_Well], Field(max_length=_MOST)]
    acquisitions: Annotated[list[_Acquisition], Field(max_length=_MOST)] | None = None
    name: _Text | None = None
    version: _Text | None = None


class _Image(_Json):
    path: _Path
    acquisition: int | None = None


class WellJson(_Json):
    """The metadata of a well's group."""

    images: Annotated[list[_Image], Field(max_length=_MOST)]
    version: _Text | None = None


def plate_of(attributes: Mapping[str, Any]) -> PlateJson:
    """Parse the metadata of a plate's group.

    Raises FormatError for a group that is no plate, DecodeError for metadata that are not of version 0.4 or
    0.5, or contradict themselves.
    """
    plate: PlateJson = _parsed(PlateJson, attributes, "plate")
    rows, columns = ([one.name for one in some] for some in (plate.rows, plate.columns))
    for field, names in (("rows", rows), ("columns", columns), ("wells", [one.path for one in plate.wells])):
        if len(set(names)) != len(names):
            raise bad_metadata(f"plate.{field}", "names that differ", names)
    known_rows, known_columns = set(rows), set(columns)
    for well in plate.wells:
        row, _, column = well.path.partition("/")
        if row not in known_rows or column not in known_columns or not is_inside(well.path):
            raise bad_metadata("plate.wells", "paths of a row and a column that are listed", well.path)
    return plate


def well_of(attributes: Mapping[str, Any]) -> WellJson:
    """Parse the metadata of a well's group. Raises as `plate_of`."""
    well: WellJson = _parsed(WellJson, attributes, "well")
    for image in well.images:
        if not is_inside(image.path):
            raise bad_metadata("well.images", "paths inside the well", image.path)
    return well


def _parsed(cls: type[Any], attributes: Mapping[str, Any], kind: str) -> Any:
    ome = ome_of(attributes)
    if kind not in ome:
        raise FormatError(
            f"this group is no OME-Zarr {kind}",
            field="group",
            expected=f"{kind} metadata",
            actual="none",
            remedy="check the URL and the group; a single image is read with an OMEZarrSource",
        )
    try:
        found = cls.model_validate(ome[kind])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in (kind, *first["loc"]))
        raise bad_metadata(place, first["msg"], first["input"]) from None
    if found.version is not None and found.version not in VERSIONS:
        raise bad_metadata(f"{kind}.version", " or ".join(VERSIONS), found.version)
    return found
