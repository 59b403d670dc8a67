"""Zarrs that came to be in other ways than by one write: of parts, as copies, as plates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import cpr
from tests.foreign.cases import EXTENTS, Case, canonical, digest, noise

SIZE: dict[str, Any] = {"pixel_size": (0.25, 0.5, 2.0), "unit": "micron"}
METRES = {"x": 0.25e-6, "y": 0.5e-6, "z": 2e-6}
LAYOUTS: dict[str, dict[str, Any]] = {
    "chunks": {"chunks": (1, 7, 24)},
    "shards": {"chunks": (1, 5, 6), "shards": (1, 20, 24)},
}
PLATE = "OME-Zarr plate"


def assembled(folder: Path) -> Iterator[Case]:
    """All of them; arrays inside of images and plates are cases of their own."""
    for name, layout in LAYOUTS.items():
        yield from _arrays(folder, name, layout)
    yield from _images(folder)
    yield from _plates(folder)


def _parts(whole: Any, data: np.ndarray) -> list[Any]:
    parts = [whole.part(region) for region in whole.regions((1,))]
    for part in parts:
        part.set_data(data[tuple(slice(*along) for along in part.region)])
    return parts


def _arrays(folder: Path, name: str, layout: dict[str, Any]) -> Iterator[Case]:
    data = noise((3, 20, 24), "uint16")
    declared = {**layout, "shape": data.shape, "dtype": "uint16"}
    first = cpr.ZarrTarget.from_path(folder / f"{name}.zarr", **declared)
    first.assemble(parts := _parts(first, data))
    yield _array(f"zarr3-parts-{name}", first.url, data)
    yield _array(f"zarr3-copy-{name}", first.copy_to(str(folder / "copies")).url, data)
    # Of parts that are another's: they are copied.
    changed = data.copy()
    changed[1] ^= 1
    second = cpr.ZarrTarget.from_path(folder / f"{name}.zarr", **declared, base=first)
    (part,) = _parts(second, changed)[1:2]
    yield _array(f"zarr3-corrected-{name}", second.assemble([parts[0], part, parts[2]]).url, changed)


def _array(name: str, url: str, data: np.ndarray) -> Case:
    shape, found, options = list(data.shape), digest(data), {"dtype": "uint16"}
    return Case(name, "Zarr v3", url, "", shape, "uint16", found, found, options=options)


def _image(name: str, kind: str, url: str, axes: str, data: np.ndarray) -> Case:
    size = {axis: length for axis, length in METRES.items() if axis.upper() in axes}
    names = ["DAPI", "GFP"] if "C" in axes else []
    said: dict[str, Any] = {"size": size, "channels": names, "options": {"dtype": "uint16", "unit": "micron"}}
    shape, pixels = list(data.shape), digest(canonical(data, axes))
    return Case(name, kind, url, axes, shape, "uint16", pixels, digest(data), **said)


def _images(folder: Path) -> Iterator[Case]:
    axes = "ZYX"
    data = noise(tuple(EXTENTS[letter] for letter in axes), "uint16")
    # A plane each: the smaller level is made when they are put together.
    options = {"metadata": {"axes": axes}, "levels": 2, "chunks": (1, 20, 24), **SIZE}
    whole = cpr.OMEZarrTarget.from_path(
        folder / "parts.ome.zarr", **options, shape=data.shape, dtype="uint16"
    )
    whole.assemble(_parts(whole, data))
    yield _image("omezarr-parts", "OME-Zarr", whole.url, axes, data)
    yield _array("zarr3-parts-level", f"{whole.url}/0", data)
    twin = whole.copy_to(str(folder / "copies"))
    yield _image("omezarr-copy", "OME-Zarr", twin.url, axes, data)


def _plates(folder: Path) -> Iterator[Case]:
    axes = "CYX"
    fields = [noise((2, 20, 24), "uint16") + np.uint16(number) for number in range(4)]
    images = []
    for data in fields:
        channels = {"Channel": {"Name": ["DAPI", "GFP"]}}
        options = {"metadata": {"axes": axes, **channels}, "pixel_size": (0.25, 0.5), "unit": "micron"}
        image = cpr.OMEZarrTarget.from_path(folder / "well.ome.zarr", **options)
        image.set_data(data)
        images.append(image)
    plate = cpr.OMEPlateTarget.from_path(folder / "plate.ome.zarr", rows=2, columns=3)
    plate.set_data({"A1": images[:2], "B3": images[2:]}, fill=True)
    plate.persist()
    stored = [*plate["A", 1], *plate["B", 3]]
    found = {image.path: data for image, data in zip(stored, fields, strict=True)}
    whole = np.stack([found[path] for path in sorted(found)])
    yield Case(
        "plate", PLATE, plate.url, "", list(whole.shape), "uint16", digest(whole), digest(whole),
        options={"fields": sorted(found)},
    )  # fmt: skip
    for path, data in found.items():
        yield _image(f"plate-{path.replace('/', '-')}", "OME-Zarr", f"{plate.url}/{path}", axes, data)
        yield _array(f"plate-{path.replace('/', '-')}-level", f"{plate.url}/{path}/0", data)
