"""What images have in common, whatever the format: axes, pixel size, unit, channel names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from cpr.data.image_metadata import Metadata
from cpr.data.units import CENTIMETRE, length_symbol
from cpr.Resource import Resource

__all__ = ["CalibratedImage"]


class CalibratedImage(Resource):
    """A resource whose pixels have a physical size; its format has the fields `metadata` and `resolution`."""

    @abstractmethod
    def _known(self) -> bool:
        """Whether all that is known was given, and there is no file to ask."""

    @abstractmethod
    def _found_metadata(self) -> Metadata:
        """What the file says; it is asked once."""

    def get_metadata(self) -> dict[str, Any]:
        """Axes, unit, spacing (the step in Z, in that unit), frame interval in seconds, channel names.

        The keys are ImageJ's: axes, unit, spacing, finterval, Channel. What was given to `from_path` or
        `set_metadata` comes back as it was given; otherwise a source asks its file, once.
        """
        if self.format.metadata is not None or self._known():
            return dict(self.format.metadata or {})
        return self._found_metadata().to_dict()

    def get_resolution(self) -> tuple[float, float] | None:
        """(x, y) in pixels per `get_metadata()["unit"]`, per centimetre without one; None if unknown."""
        if self.format.resolution is not None:
            resolution: tuple[float, float] = self.format.resolution
            return resolution
        if self.format.metadata is not None or self._known():
            unit = (self.format.metadata or {}).get("unit")
            symbol = CENTIMETRE if unit is None else length_symbol(unit)
            return Metadata.of(self.format.metadata, None).resolution_per(symbol)
        return self._found_metadata().resolution

    def set_metadata(self, metadata: Mapping[str, Any] | None) -> None:
        """Replace the metadata; of a source, what is carried on, the file stays as it is.

        Raises FormatError for values that are no JSON values, or make no sense, and RecordError for a
        target that is stored already.
        """
        self._set_format(metadata=None if metadata is None else dict(metadata))

    def set_resolution(self, resolution: tuple[float, float] | None) -> None:
        """Replace the resolution: (x, y) in pixels per `metadata["unit"]`. Raises as `set_metadata`."""
        self._set_format(resolution=resolution)
