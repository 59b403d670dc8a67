"""What cpr finds in files of others, beside what their writers' own readers do."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np

import cpr
from cpr.data.image_metadata import Metadata
from cpr.image.image_selection import SeveralImagesWarning

_PAGES_ALONE = "description=False"


def differences(folder: Path) -> tuple[int, list[str]]:
    """How many files there are, and what is wrong in which."""
    files = json.loads((folder / "files.json").read_text())
    return len(files), [
        f"{name}: {problem}" for name, said in files.items() if (problem := _difference(folder / name, said))
    ]


def _difference(path: Path, said: dict) -> str | None:
    expected = np.load(f"{path}.npy")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        source = cpr.ImageSource.from_path(path)
        try:
            found = source.get_data()
            metadata = source.get_metadata()
        except cpr.FormatError as error:
            if not error.remedy:
                return f"no remedy: {error}"
            if _PAGES_ALONE not in error.remedy:
                return f"cannot be read: {error}"
            found = cpr.ImageSource.from_path(path, description=False).get_data()
            return None if np.array_equal(found.squeeze(), expected.squeeze()) else "the remedy does not work"
        resolution = source.get_resolution()
    if found.squeeze().shape != expected.squeeze().shape:
        return f"shape {found.shape}, not {expected.shape}"
    if not np.array_equal(found.squeeze(), expected.squeeze()):
        return f"other pixels, {found.dtype}, {expected.dtype}"
    if (said["images"] > 1) != any(issubclass(one.category, SeveralImagesWarning) for one in told):
        return f"{said['images']} images, told: {[str(one.message)[:80] for one in told]}"
    if said["axes"] is not None and metadata.get("axes") != said["axes"]:
        return f"axes {metadata.get('axes')}, not {said['axes']}"
    if said["size"] is not None:
        known = Metadata.of(metadata, resolution)
        lengths = (known.x, known.y, known.z if "Z" in (said["axes"] or "") else None)
        for length, size in zip(lengths, said["size"], strict=False):
            if length is not None and not math.isclose(length.to("m"), size, rel_tol=1e-3):
                return f"size {length}, not {size} m"
        if known.x is None:
            return f"no size, not {said['size']} m"
    return None
