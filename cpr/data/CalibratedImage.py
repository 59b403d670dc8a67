"""The base class of images in any format: axes, pixel size, unit, channel names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from cpr.data.image_metadata import Metadata, require_known
from cpr.data.pixel_size import calibrated, in_one_unit
from cpr.data.pixels_per_unit import Resolution
from cpr.data.units import CENTIMETRE, length_symbol
from cpr.previews.pixel_size_text import pixel_size
from cpr.Resource import Resource
from cpr.Target import Target

__all__ = ["CalibratedImage"]


class CalibratedImage(Resource):
    """A resource whose pixels have a physical size; its format has the fields `metadata` and `resolution`.

    `from_path` also takes `pixel_size=(x, y)` or `(x, y, z)` with `unit="micron"`, which cannot be misread;
    `custom={}` for metadata of one's own; and `like=image`: axes, pixel size, spacing, frame interval and
    channel names are that image's (its file is asked) as far as they are not given, and if there is an axis
    for them.

    >>> image = cpr.ImageTarget.from_path("memory://doc/a.tif", pixel_size=(0.25, 0.5), unit="micron")
    >>> twin = cpr.ImageTarget.from_path("memory://doc/b.tif", like=image)
    >>> twin.get_metadata(), twin.get_resolution()
    ({'unit': 'micron'}, ResolutionPerMicron(x=4.0, y=2.0))
    """

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:
        return super()._make_format(ext, calibrated(options, issubclass(cls, Target)))

    @abstractmethod
    def _known(self) -> bool:
        """Whether all metadata was given, or there is no file to read it from."""

    @abstractmethod
    def _found_metadata(self) -> Metadata:
        """The metadata in the file, which is read once."""

    def details(self) -> dict[str, Any]:
        """`facts`, with axes, pixel size and channels; a source reads the first bytes of its file."""
        metadata = self.get_metadata()
        channels = metadata.get("Channel")
        names = channels.get("Name", []) if isinstance(channels, Mapping) else []
        said = {
            "axes": metadata.get("axes"),
            "pixel size": pixel_size(self.get_resolution(), metadata),
            "channels": ", ".join(map(str, [names] if isinstance(names, str) else names)),
        }
        return {**self.facts(), **{name: value for name, value in said.items() if value}}

    def get_metadata(self) -> dict[str, Any]:
        """Axes, unit, spacing (the step in Z, in that unit), frame interval in seconds, channel names.

        The keys are ImageJ's: axes, unit, spacing, finterval, Channel. What was given to `from_path` or
        `set_metadata` comes back as it was given; otherwise a source asks its file, once.
        """
        if self.format.metadata is not None or self._known():
            return dict(self.format.metadata or {})
        return self._found_metadata().to_dict()

    def get_resolution(self) -> Resolution | None:
        """(x, y) in pixels per `get_metadata()["unit"]`, per centimetre without one; None if unknown.

        The pair knows its unit, which goes with it where it is handed on. Of sizes in OME's words that are in
        pixels, or are no number of centimetres, it is their own.
        """
        resolution = self.format.resolution
        if resolution is None and self.format.metadata is None and not self._known():
            return self._found_metadata().resolution
        symbol = length_symbol(self.get_metadata().get("unit") or CENTIMETRE)
        if resolution is None or {"PhysicalSizeX", "PhysicalSizeY"} & set(self.format.metadata or {}):
            known = Metadata.of(self.format.metadata, resolution)
            sizes = [size for size in (known.x, known.y) if size is not None]
            # Of pixels, and of what is too small or large, there is no number per centimetre.
            fits = all(size.fits(symbol) for size in sizes)
            return known.resolution_per(symbol) if fits else known.resolution
        return Resolution.per(symbol)(*resolution)

    @property
    def metadata(self) -> dict[str, Any] | None:
        """The metadata that was given or set; None if neither (then `get_metadata` reads a source's file)."""
        metadata: dict[str, Any] | None = self.format.metadata
        return metadata

    @metadata.setter
    def metadata(self, metadata: Mapping[str, Any] | None) -> None:
        self.set_metadata(metadata)

    @property
    def resolution(self) -> tuple[float, float] | None:
        """The resolution given or set; None if neither (then `get_resolution` reads a source's file)."""
        resolution: tuple[float, float] | None = self.format.resolution
        return resolution

    @resolution.setter
    def resolution(self, resolution: tuple[float, float] | None) -> None:
        self.set_resolution(resolution)

    def set_metadata(self, metadata: Mapping[str, Any] | None) -> None:
        """Replace the metadata; a source's file stays as it is, only what is passed on changes.

        The resolution keeps its unit where the new metadata have none.

        Raises FormatError for unknown keys, for values that are no JSON values, or make no sense, and
        RecordError for a target that is stored already.
        """
        require_known(metadata)
        new = None if metadata is None else dict(metadata)
        unit = (self.format.metadata or {}).get("unit")
        asks_file = new is None and not self._known()
        if self.format.resolution is not None and unit and not (new or {}).get("unit") and not asks_file:
            new = {**(new or {}), "unit": unit}
        if new is not None:
            new, _ = in_one_unit(new, None)
        self._set_format(metadata=new)

    def set_resolution(self, resolution: tuple[float, float] | None) -> None:
        """Replace the resolution: (x, y) in pixels per `metadata["unit"]`, or one with its own unit.

        Raises as `set_metadata`.
        """
        if resolution is None:
            self._set_format(resolution=None)
            return
        given = {"metadata": self.format.metadata, "resolution": resolution}
        self._set_format(**calibrated(given, isinstance(self, Target)))
