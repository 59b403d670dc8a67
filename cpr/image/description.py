"""The description in an image's first page: ImageJ's lines, OME-XML, or tifffile's JSON.

It is made before the first pixel is written, since a stream is written forward only. Sources: ImageJ's
TiffDecoder and FileOpener for its keys; https://docs.openmicroscopy.org/ome-model/ for OME-XML.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, NamedTuple

import tifffile

from cpr.data.image_metadata import IMAGEJ_TAGS, OME_ELEMENTS, Metadata
from cpr.data.units import CENTIMETRE, imagej_name
from cpr.errors import EncodeError, spelled
from cpr.image.layout import Layout

__all__ = ["OWN_UNIT", "FirstPage", "first_page"]

# Rational tags are two 32-bit numbers.
_RATIONAL = (1e-9, 4e9)
_CREATOR = b' Creator="cpr"'
# What tifffile takes for arguments of its own.
_NO_LINES = frozenset({"axes", "colormaped", "rgb"})
OWN_UNIT = "cprlength"
"""Key of a line that no other program reads: the unit that the user gave, in which cpr tells sizes again.

It must not end in "unit", which Bio-Formats looks for anywhere.
"""


class FirstPage(NamedTuple):
    """Tags of a file's first page; the resolution is that of all pages.

    Attributes:
        description: of ImageDescription, encoded; OME-XML without an identifier.
        resolution: (x, y) in pixels per unit, or None.
        resolution_unit: 1 for none, 3 for centimetre.
        extra: further tags, as tifffile takes them.
        described: what the identifier in the OME-XML depends on, apart from the content; None without one.
    """

    description: bytes
    resolution: tuple[float, float] | None
    resolution_unit: int
    extra: tuple[Any, ...] = ()
    described: str | None = None

    def of(self, content: str | None) -> FirstPage:
        """Add an OME identifier (UUID) made from a content hash, as far as known."""
        if self.described is None or content is None:
            return self
        identifier = uuid.uuid5(uuid.NAMESPACE_OID, f"[{json.dumps(content)}, {self.described}]")
        tagged = f' UUID="urn:uuid:{identifier}"'.encode() + _CREATOR
        return self._replace(description=self.description.replace(_CREATOR, tagged, 1))


def first_page(layout: Layout, metadata: Metadata) -> FirstPage:
    """Make the tags of the first page for an array.

    Args:
        layout: how the array is laid out in the file.
        metadata: of the image.

    Raises EncodeError for metadata that the flavour cannot hold.
    """
    if layout.flavour == "imagej":
        return _imagej(layout, metadata)
    if layout.flavour == "ome":
        return _ome(layout, metadata)
    described = {"shape": layout.shape, "resolution": metadata.resolution, **metadata.to_dict()}
    if layout.flavour == "plain":
        described |= {"shape": layout.file_shape, "axes": layout.file_axes}
        return FirstPage(json.dumps(described).encode(), *_in_centimetres(metadata))
    return FirstPage(f"an empty array: {json.dumps(described)}".encode(), *_in_centimetres(metadata))


def _imagej(layout: Layout, metadata: Metadata) -> FirstPage:
    lines: dict[str, Any] = {}
    unit, resolution = _imagej_unit(metadata)
    if unit is not None:
        # With a unit for all axes, a pixel whose size nobody knows would be one of it.
        lines["unit" if metadata.x is not None else "zunit"] = imagej_name(unit)
        if metadata.z is not None:
            lines["spacing"] = metadata.z.to(unit)
        if metadata.unit is not None and unit != metadata.unit:
            lines[OWN_UNIT] = imagej_name(metadata.unit)
    if metadata.interval is not None:
        lines["finterval"] = metadata.interval
    if "C" in layout.file_axes and "mode" not in metadata.rest and metadata.channels:
        lines["mode"] = "composite"
    tags = {key: value for key, value in metadata.rest.items() if key in IMAGEJ_TAGS}
    if metadata.channels and "Labels" not in tags:
        tags["Labels"] = _labels(layout, metadata.channels)
    for key, value in metadata.rest.items():
        if key not in {*IMAGEJ_TAGS, "Channel"}:
            lines[_line(key, key)] = _line(key, value)
    text = tifffile.imagej_description(
        layout.file_shape, axes=layout.file_axes, rgb=layout.samples > 1, **lines
    )
    try:
        extra = tifffile.tifffile.imagej_metadata_tag(tags, "<")
    except (TypeError, ValueError, AttributeError, UnicodeError) as error:
        raise _cannot("ImageJ's tags", ", ".join(sorted(tags)), str(error)) from None
    # ImageJ reads its description as Java properties, in which \u00b5 is a character.
    return FirstPage(text.encode("ascii", "backslashreplace"), resolution, 1, tuple(extra))


def _imagej_unit(metadata: Metadata) -> tuple[str | None, tuple[float, float] | None]:
    """The unit in which sizes are written, and the resolution per that unit.

    Micrometres, whatever the unit was, as far as they can be written: Bio-Formats takes `spacing` for them,
    and it and bioio every unit that they do not know. Every other is a whole multiple or fraction of them.
    """
    size = metadata.x or metadata.z
    if size is None:
        return None, None
    for unit in ("µm", size.unit) if size.is_physical else (size.unit,):
        if not all(one.fits(unit) for one in (metadata.x, metadata.y, metadata.z) if one is not None):
            continue
        resolution = _rational(metadata.resolution_per(unit))
        if resolution is not None or metadata.x is None:
            return unit, resolution
    found = f"{metadata.resolution} per {size.unit}"
    raise _cannot("ImageJ's resolution tags", "resolution", found)


def _labels(layout: Layout, channels: tuple[str, ...]) -> list[str]:
    """A label for every page: the name of its channel, if every channel has one."""
    if "C" not in layout.file_axes:
        return list(channels) * layout.count if len(channels) == 1 else []
    axis = layout.file_axes.index("C")
    if len(channels) != layout.file_shape[axis]:
        raise _channels(layout.file_shape[axis], channels)
    after = 1
    for extent in layout.file_shape[axis + 1 : -layout.page_ndim]:
        after *= extent
    return [channels[(page // after) % len(channels)] for page in range(layout.count)]


def _line(key: str, value: Any) -> Any:
    if key in _NO_LINES:
        raise _cannot("a line of ImageJ's description", key, spelled(value))
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True)
    if len(str(value).splitlines()) > 1 or (value == key and "=" in key):
        raise _cannot("a line of ImageJ's description", key, spelled(value))
    return value


def _ome(layout: Layout, metadata: Metadata) -> FirstPage:
    known: dict[str, Any] = {k: v for k, v in metadata.rest.items() if k in OME_ELEMENTS}
    others = {k: v for k, v in metadata.rest.items() if k not in OME_ELEMENTS}
    for axis, size in (("X", metadata.x), ("Y", metadata.y), ("Z", metadata.z)):
        if size is not None:
            known[f"PhysicalSize{axis}"] = size.value
            known[f"PhysicalSize{axis}Unit"] = size.unit
    if metadata.interval is not None:
        known |= {"TimeIncrement": metadata.interval, "TimeIncrementUnit": "s"}
    if metadata.channels:
        at = layout.file_axes.find("C")
        extent = layout.file_shape[at] if at >= 0 else 1
        if len(metadata.channels) != extent:
            raise _channels(extent, metadata.channels)
    if others and "MapAnnotation" not in known:
        # Whatever OME has no element for.
        known["MapAnnotation"] = {
            k: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for k, v in others.items()
        }
    known.setdefault("Name", "image")
    described = json.dumps([layout.file_shape, layout.file_axes, known], sort_keys=True)
    try:
        xml = tifffile.OmeXml(Creator="cpr", UUID="", **known)
        height, width = layout.page_shape[:2]
        stored = (layout.count, 1, 1, height, width, layout.samples)
        xml.addimage(layout.stored_dtype, layout.file_shape, stored, axes=layout.file_axes, **known)
        text = xml.tostring(declaration=True)
    except (tifffile.OmeXmlError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise _cannot("OME-XML", ", ".join(sorted(known)), str(error)[:200]) from None
    # Of a stream nothing is known beforehand that would make the identifier unique; it is optional.
    text = text.replace(' UUID="urn:uuid:"', "", 1)
    return FirstPage(text.encode(), *_in_centimetres(metadata), described=described[1:-1])


def _in_centimetres(metadata: Metadata) -> tuple[tuple[float, float] | None, int]:
    """Resolution tags for readers that know no other metadata."""
    if not all(size is not None and size.fits(CENTIMETRE) for size in (metadata.x, metadata.y)):
        return None, 1
    resolution = _rational(metadata.resolution_per(CENTIMETRE))
    return resolution, 1 if resolution is None else 3


def _rational(resolution: tuple[float, float] | None) -> tuple[float, float] | None:
    if resolution is None or not all(_RATIONAL[0] < r < _RATIONAL[1] for r in resolution):
        return None
    return resolution


def _channels(expected: int, channels: tuple[str, ...]) -> EncodeError:
    return EncodeError(
        "not a name for each channel",
        field="metadata['Channel']['Name']",
        expected=f"{expected} names, for the extent of axis C",
        actual=f"{len(channels)} names",
        remedy="name every channel, and give axes= with a C",
    )


def _cannot(what: str, field: str, actual: str) -> EncodeError:
    return EncodeError(
        f"{what} cannot hold this metadata",
        field="metadata: " + field,
        expected="JSON values as tifffile documents them for this flavour",
        actual=actual,
        remedy="leave it out, or keep it in a table beside the image",
    )
