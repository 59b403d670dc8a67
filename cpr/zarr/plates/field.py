"""The options of a plate's field: which image of the plate it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cpr.zarr.options import path_inside

__all__ = ["FieldOptions"]


@dataclass(frozen=True)
class FieldOptions:
    """The choice of an image in a plate.

    Attributes:
        path: inside the plate: row, column and field.
        metadata: None: the image tells them.
        resolution: None, likewise.
    """

    extensions: ClassVar[tuple[str, ...]] = (".ome.zarr", ".zarr")

    path: str = ""
    metadata: dict[str, Any] | None = None
    resolution: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", path_inside("path", self.path, 'plate["B", 3][0]'))
