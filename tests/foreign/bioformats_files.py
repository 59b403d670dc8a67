"""Files that Bio-Formats' converter writes, of images of which all is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tests.foreign import install
from tests.foreign.cases import EXTENTS, noise

# The axes and dtype of the image, and what the converter is told.
KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "plain": ("TZCYX", "uint16", ()),
    "lzw": ("TZCYX", "uint16", ("-compression", "LZW")),
    "zlib": ("ZCYX", "float32", ("-compression", "zlib")),
    "jpeg-2000": ("ZYX", "uint16", ("-compression", "JPEG-2000")),
    "jpeg-2000 of bytes": ("CYX", "uint8", ("-compression", "JPEG-2000")),
    "tiles": ("CYX", "uint16", ("-tilex", "16", "-tiley", "16", "-compression", "zlib")),
    "BigTIFF": ("TYX", "int16", ("-bigtiff",)),
    "other order": ("CTZYX", "uint8", ()),
    "signed bytes": ("ZYX", "int8", ()),
    "doubles": ("YX", "float64", ()),
    "colours": ("YXS", "uint8", ("-compression", "LZW")),
}
SIZE = (0.25, 0.5)


def written(folder: Path) -> None:
    """Write them, beside what is in each, as `foreign_files.differences` wants it."""
    command: tuple[Any, ...] = (install.java(), "-Djava.awt.headless=true", "-cp", install.bioformats())
    files = {}
    for number, (kind, (axes, dtype, options)) in enumerate(KINDS.items()):
        array = noise(tuple(EXTENTS[letter] for letter in axes), dtype)
        given, name = folder / f"{number}-given.ome.tif", f"{number}-{kind.replace(' ', '-')}.ome.tif"
        size = {"PhysicalSizeX": SIZE[0], "PhysicalSizeY": SIZE[1]}
        photometric = "rgb" if axes.endswith("S") else "minisblack"
        tifffile.imwrite(given, array, photometric=photometric, metadata={"axes": axes, **size})
        converter = "loci.formats.tools.ImageConverter"
        install.run(*command, converter, "-no-upgrade", "-overwrite", *options, given, folder / name)
        if axes == "YXS":  # a plane for each colour, as Bio-Formats writes them
            array, axes = array.transpose(2, 0, 1), "CYX"
        np.save(folder / f"{name}.npy", array)
        files[name] = {"images": 1, "axes": axes, "size": [length * 1e-6 for length in SIZE]}
    (folder / "files.json").write_text(json.dumps(files))
