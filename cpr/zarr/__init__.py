"""Zarr: arrays and groups in chunks, written in parallel and verified object by object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr._lazy import make_lazy

if TYPE_CHECKING:
    from cpr.zarr.OMEPlateSource import OMEPlateSource
    from cpr.zarr.OMEPlateTarget import OMEPlateTarget
    from cpr.zarr.OMEZarrField import OMEZarrField
    from cpr.zarr.OMEZarrSource import OMEZarrSource
    from cpr.zarr.OMEZarrTarget import OMEZarrTarget
    from cpr.zarr.ZarrPart import ZarrPart
    from cpr.zarr.ZarrRegion import ZarrRegion
    from cpr.zarr.ZarrSource import ZarrSource
    from cpr.zarr.ZarrTarget import ZarrTarget

__all__ = [
    "OMEPlateSource",
    "OMEPlateTarget",
    "OMEZarrField",
    "OMEZarrSource",
    "OMEZarrTarget",
    "ZarrPart",
    "ZarrRegion",
    "ZarrSource",
    "ZarrTarget",
]

make_lazy(__name__, {name: f"cpr.zarr.{name}" for name in __all__})
