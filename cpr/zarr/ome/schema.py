"""Validates the untrusted metadata of OME-Zarr images, version 0.4 or 0.5.

Sources: https://ngff.openmicroscopy.org/0.4/ and https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from cpr.data.units import PIXEL
from cpr.errors import DecodeError, FormatError
from cpr.zarr.ome.axes import type_of

__all__ = [
    "IN_PIXELS",
    "VERSIONS",
    "ImageJson",
    "MultiscaleJson",
    "bad_metadata",
    "image_of",
    "is_inside",
    "label_names",
    "ome_of",
]

VERSIONS = ("0.4", "0.5")
IN_PIXELS = "in_pixels"
"""Key of the free metadata of an image: names of the axes whose scale is in pixels, which has no unit."""

_MOST_LEVELS = 64
_Text = Annotated[str, StringConstraints(max_length=1000)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
_Byte = Annotated[int, Field(ge=0, le=255)]


class _Json(BaseModel):
    # Numbers are numbers and text is text; what is not named here is no business of ours.
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Axis(_Json):
    name: _Text
    type: _Text | None = None
    unit: _Text | None = None

    @property
    def kind(self) -> str | None:
        """The type of the axis, or what its name implies if no type is given."""
        return type_of(self.name) if self.type is None else self.type


class _Scale(_Json):
    type: Literal["scale"]
    scale: Annotated[list[_Positive], Field(min_length=1, max_length=5)]


class _Translation(_Json):
    type: Literal["translation"]
    translation: Annotated[list[_Finite], Field(min_length=1, max_length=5)]


_Transformations = Annotated[
    list[Annotated[_Scale | _Translation, Field(discriminator="type")]], Field(min_length=1, max_length=2)
]


class _Dataset(_Json):
    path: _Text
    coordinateTransformations: _Transformations  # noqa: N815


class MultiscaleJson(_Json):
    """An entry of `multiscales`."""

    axes: Annotated[list[_Axis], Field(min_length=2, max_length=5)]
    datasets: Annotated[list[_Dataset], Field(min_length=1, max_length=_MOST_LEVELS)]
    coordinateTransformations: _Transformations | None = None  # noqa: N815
    name: _Text | None = None
    metadata: Any = None

    @property
    def units(self) -> tuple[str | None, ...]:
        """Units of the axes, as named; "pixel" if cpr has written that."""
        said = self.metadata.get(IN_PIXELS) if isinstance(self.metadata, Mapping) else None
        pixels = said if isinstance(said, list) else []
        return tuple(PIXEL if axis.unit is None and axis.name in pixels else axis.unit for axis in self.axes)


class _Window(_Json):
    start: _Finite | None = None
    end: _Finite | None = None


class _Channel(_Json):
    label: _Text | int | None = None
    color: _Text | None = None
    window: _Window | None = None


class _Omero(_Json):
    channels: Annotated[list[_Channel], Field(max_length=100_000)] = []


class _Color(_Json):
    label_value: int | bool | _Finite = Field(alias="label-value")
    rgba: Annotated[list[_Byte], Field(min_length=4, max_length=4)] | None = None


class _Properties(_Json):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    label_value: int = Field(alias="label-value")


class _ImageLabel(_Json):
    colors: list[_Color] | None = None
    properties: list[_Properties] | None = None


class ImageJson(_Json):
    """The metadata of an image's group."""

    multiscales: Annotated[list[MultiscaleJson], Field(min_length=1, max_length=100)]
    omero: _Omero | None = None
    image_label: _ImageLabel | None = Field(default=None, alias="image-label")


_labels = TypeAdapter(Annotated[list[_Text], Field(max_length=100_000)])


def ome_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The OME part of a group's attributes. Raises DecodeError for an unsupported version."""
    ome = attributes.get("ome")
    if ome is not None and not isinstance(ome, Mapping):
        raise bad_metadata("attributes.ome", "an object", ome)
    found: Mapping[str, Any] = attributes if ome is None else ome
    version = found.get("version")
    if ome is None and isinstance(entries := found.get("multiscales"), list) and entries:
        version = entries[0].get("version") if isinstance(entries[0], Mapping) else None
    if version is not None and version not in VERSIONS:
        raise DecodeError(
            "an OME-Zarr of a version that is not known",
            field="version",
            expected=" or ".join(VERSIONS),
            actual=ascii(reprlib.repr(version))[1:-1][:50],
            remedy="convert it to version 0.5, or read its arrays with a ZarrSource",
        )
    return found


def image_of(attributes: Mapping[str, Any]) -> ImageJson:
    """Parse the metadata of an image's group.

    Raises FormatError for a group that is no image, with the remedy where it holds some, and DecodeError
    for metadata that are not of version 0.4 or 0.5, or contradict themselves.
    """
    ome = ome_of(attributes)
    if "multiscales" not in ome:
        raise _no_image(ome)
    try:
        image = ImageJson.model_validate(dict(ome))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise bad_metadata(place, first["msg"], first["input"]) from None
    for index, multiscale in enumerate(image.multiscales):
        _require_consistent(multiscale, f"multiscales.{index}")
    return image


def _require_consistent(multiscale: MultiscaleJson, place: str) -> None:
    names = [axis.name for axis in multiscale.axes]
    if len(set(names)) != len(names):
        raise bad_metadata(f"{place}.axes", "names that differ", names)
    types = [axis.kind for axis in multiscale.axes]
    if not 2 <= types.count("space") <= 3 or types.count("time") > 1 or types.count("channel") > 1:
        raise bad_metadata(
            f"{place}.axes", "2 or 3 of type space, and at most one each of time and channel", types
        )
    for index, dataset in enumerate(multiscale.datasets):
        field = f"{place}.datasets.{index}"
        if not is_inside(dataset.path):
            raise bad_metadata(f"{field}.path", "a path inside the group", dataset.path)
        _require_transformations(dataset.coordinateTransformations, len(names), field)
    if multiscale.coordinateTransformations is not None:
        _require_transformations(multiscale.coordinateTransformations, len(names), place)


def _require_transformations(found: list[_Scale | _Translation], count: int, place: str) -> None:
    field = f"{place}.coordinateTransformations"
    if [each.type for each in found] not in (["scale"], ["scale", "translation"]):
        raise bad_metadata(
            field, "one scale, and at most one translation after it", [each.type for each in found]
        )
    for each in found:
        values = each.scale if isinstance(each, _Scale) else each.translation
        if len(values) != count:
            raise bad_metadata(field, f"{count} numbers, one for each axis", values)


def is_inside(path: str) -> bool:
    """Whether a path names something below its group."""
    steps = path.split("/")
    return (
        bool(path)
        and not any(step in ("", ".", "..") or step.startswith("__") for step in steps)
        and (re.search(r"[\x00-\x1f\x7f\\]", path) is None)
    )


def label_names(attributes: Mapping[str, Any]) -> list[str]:
    """The paths that a labels group lists. Raises DecodeError if they are not a list of paths."""
    try:
        names = _labels.validate_python(ome_of(attributes).get("labels", []), strict=True)
    except ValidationError as error:
        raise bad_metadata("labels", "a list of paths", error.errors(include_url=False)[0]["input"]) from None
    for name in names:
        if not is_inside(name):
            raise bad_metadata("labels", "paths inside the group", name)
    return names


def _no_image(ome: Mapping[str, Any]) -> FormatError:
    actual, remedy = "no multiscales", "check the URL and the group; read other Zarrs with a ZarrSource"
    if "bioformats2raw.layout" in ome:
        actual, remedy = "a collection of images (bioformats2raw.layout)", 'name one of them: group="0"'
    elif "plate" in ome:
        actual, remedy = "a plate", 'read it with an OMEPlateSource, or name a field of a well: group="A/1/0"'
    elif "well" in ome:
        actual, remedy = "a well", 'name a field of it: group="A/1/0"'
    elif "labels" in ome:
        actual, remedy = "a group of labels", "name the image above it, or one of the labels"
    return FormatError(
        "this group is no OME-Zarr image", field="group", expected="multiscales", actual=actual, remedy=remedy
    )


def bad_metadata(field: str, expected: str, actual: Any) -> DecodeError:
    """The error for metadata that violates the specification."""
    return DecodeError(
        "broken OME-Zarr metadata",
        field=field,
        expected=expected,
        actual=ascii(reprlib.repr(actual))[1:-1][:200],  # it may be of any size
        remedy="repair the metadata, or read the arrays with a ZarrSource",
    )
