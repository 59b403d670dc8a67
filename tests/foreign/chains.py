"""Images on their way through three formats: what each tells of pixels is what the first was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cpr
from tests.foreign.cases import EXTENTS, METRES, Case, canonical, digest, noise

AXES = "TZCYX"
FORMATS: dict[str, tuple[type[Any], type[Any], str, dict[str, Any]]] = {
    "ImageJ TIFF": (cpr.ImageTarget, cpr.ImageSource, ".tif", {"imagej": True}),
    "OME-TIFF": (cpr.ImageTarget, cpr.ImageSource, ".ome.tif", {}),
    "OME-Zarr": (cpr.OMEZarrTarget, cpr.OMEZarrSource, ".ome.zarr", {}),
}
CHAINS = (
    ("ImageJ TIFF", "OME-TIFF", "OME-Zarr"),
    ("OME-TIFF", "ImageJ TIFF", "OME-Zarr"),
    ("ImageJ TIFF", "OME-Zarr", "OME-TIFF"),
    ("OME-Zarr", "ImageJ TIFF", "OME-TIFF"),
    ("OME-TIFF", "OME-Zarr", "ImageJ TIFF"),
    ("OME-Zarr", "OME-TIFF", "ImageJ TIFF"),
)


def chains(folder: Path) -> Iterator[Case]:
    """The last file of each chain, for each unit."""
    for unit in METRES:
        for number, kinds in enumerate(CHAINS):
            yield _chain(folder, kinds, f"chain-{number}-{unit}", unit)


def _chain(folder: Path, kinds: tuple[str, ...], name: str, unit: str) -> Case:
    array = noise(tuple(EXTENTS[letter] for letter in AXES), "uint16")
    channels = ["DAPI", "GFP"]
    options: dict[str, Any] = {
        "metadata": {"axes": AXES, "Channel": {"Name": channels}, "finterval": 3.5},
        "pixel_size": (0.25, 0.5, 2.0),
        "unit": unit,
    }
    path, axes = "", AXES
    data: Any = array
    for step, kind in enumerate(kinds):
        target_class, source_class, ext, more = FORMATS[kind]
        target = target_class.from_path(folder / f"{name}-{step}{ext}", **more, **options)
        zarr = kind == "OME-Zarr"
        target.set_data(data, **({"axes": AXES} if zarr else {}))
        path = target.persist().get_path()
        source = source_class.from_path(path)
        options = {"like": source, "metadata": {"axes": AXES}}
        # An OME-Zarr has its channels before Z.
        axes = "TCZYX" if zarr else AXES
        data = source.get_data(region=...).transpose([axes.index(letter) for letter in AXES])
    stored = array.transpose([AXES.index(letter) for letter in axes])
    scale = METRES[unit]
    return Case(
        name, kinds[-1], path, axes, list(stored.shape), "uint16", digest(canonical(stored, axes)),
        digest(stored), {"x": 0.25 * scale, "y": 0.5 * scale, "z": 2 * scale}, 3.5, channels,
        options={"unit": unit, "dtype": "uint16", "compression": "zlib"},
    )  # fmt: skip
