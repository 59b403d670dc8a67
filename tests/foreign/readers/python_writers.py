"""Files that other Python packages write, and what is in them: python_writers.py FOLDER.

Leaves, beside each file, the pixels that the writer's own reader finds (`.npy`), and `files.json`: name ->
axes or None, size of a pixel in metres or None, and of how many images the file is. Needs nothing of cpr's.
"""

from __future__ import annotations

import itertools
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

EXTENTS = {"T": 2, "Z": 3, "C": 4, "Y": 33, "X": 45, "S": 3}
# What a writer leaves: pixels, axes, (x, y, z) in metres, number of images.
Written = tuple[str, np.ndarray, str | None, list[float] | None, int]


def noise(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    random = np.random.default_rng(len(shape))
    if np.dtype(dtype).kind in "iu":
        return random.integers(0, 120, shape).astype(dtype)
    return (random.normal(0, 50, shape) * (1 - 2j if dtype.startswith("c") else 1)).astype(dtype)


def _shape(axes: str) -> tuple[int, ...]:
    return tuple(EXTENTS[letter] for letter in axes)


def by_tifffile(folder: Path) -> Iterator[Written]:
    import tifffile

    codecs = (None, "zlib", "lzw", "packbits", "zstd", "lzma", "jpeg2000")
    for kind, compression, order in itertools.product(("imagej", "ome", "shaped"), codecs, "<>"):
        for axes, dtype in (("YX", "uint16"), ("ZYX", "uint8"), ("TZCYX", "uint16"), ("YX", "float32")):
            # tifffile writes big-endian integers as they lie, and its own reader swaps them.
            if compression == "jpeg2000" and (dtype == "float32" or order == ">"):
                continue
            array = noise(_shape(axes), dtype)
            name = f"tifffile-{kind}-{compression}-{'le' if order == '<' else 'be'}-{axes}-{dtype}"
            options: dict[str, Any] = {"compression": compression, "byteorder": order}
            metadata: dict[str, Any] = {"axes": axes}
            size = None
            if kind == "imagej":
                options |= {"imagej": True, "resolution": (4, 2)}
                metadata |= {"unit": "um", "spacing": 2}
                size = [0.25e-6, 0.5e-6, 2e-6]
            elif kind == "ome":
                options["ome"] = True
                metadata |= {f"PhysicalSize{a}": n for a, n in (("X", 250), ("Y", 500), ("Z", 2000))}
                metadata |= {f"PhysicalSize{a}Unit": "nm" for a in "XYZ"}
                size = [0.25e-6, 0.5e-6, 2e-6]
            tifffile.imwrite(
                folder / f"{name}.tif", array, metadata=metadata, photometric="minisblack", **options
            )
            yield f"{name}.tif", array, axes, size, 1
    for tile, planar, bigtiff in itertools.product((None, (16, 32)), ("contig", "separate"), (False, True)):
        array = noise((3, 33, 45) if planar == "separate" else (33, 45, 3), "uint8")
        name = f"tifffile-rgb-{planar}-{tile}-{bigtiff}.tif"
        options = {"tile": tile, "planarconfig": planar, "bigtiff": bigtiff, "metadata": None}
        tifffile.imwrite(folder / name, array, photometric="rgb", **options)
        yield name, array, None, None, 1
    for count, compression in itertools.product((2, 3), (None, "zlib")):
        arrays = [noise((2 + n, 33, 45 + n), "uint16") for n in range(count)]
        for ome in (False, True):
            name = f"tifffile-series-{count}-{compression}-{ome}.tif"
            with tifffile.TiffWriter(folder / name, ome=ome) as writer:
                for array in arrays:
                    metadata = {"axes": "ZYX"} if ome else None
                    writer.write(array, compression=compression, metadata=metadata, photometric="minisblack")
            yield name, arrays[0], "ZYX" if ome else None, None, count


def by_pillow(folder: Path) -> Iterator[Written]:
    from PIL import Image

    codecs = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")
    for mode, compression, count in itertools.product(
        ("L", "1", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"), codecs, (1, 4)
    ):
        if (compression == "group4") != (mode == "1") or (compression == "jpeg" and mode not in {"L", "RGB"}):
            continue
        bands = {"RGB": 3, "RGBA": 4, "CMYK": 3, "LA": 2}.get(mode)
        dtype = {"I;16": "uint16", "F": "float32"}.get(mode, "uint8")
        pages = []
        for n in range(count):
            array = noise((33, 45, bands) if bands else (33, 45), dtype) + np.dtype(dtype).type(n)
            page = Image.fromarray(array)
            page = page if page.mode in {mode, "I;16"} else page.convert(mode)
            pages.append(page)
        name = f"pillow-{mode.replace(';', '')}-{compression}-{count}.tif"
        pages[0].save(
            folder / name, compression=compression, save_all=True, append_images=pages[1:], dpi=(254, 127)
        )
        found = []
        with Image.open(folder / name) as file:
            for n in range(count):
                file.seek(n)
                found.append(np.asarray(file))
        yield name, np.stack(found) if count > 1 else found[0], None, [1e-4, 2e-4], 1


def by_gdal(folder: Path) -> Iterator[Written]:
    import rasterio

    dtypes = ("uint8", "int8", "int16", "uint32", "float32", "float64", "complex64", "complex_int16", "int64")
    for dtype, compress, tiled, interleave in itertools.product(
        dtypes, ("none", "deflate", "lzw", "zstd"), (False, True), ("band", "pixel")
    ):
        shape = (2, 48, 64) if tiled else (2, 33, 45)
        array = noise(shape, "complex64" if dtype.startswith("complex") else dtype)
        if dtype == "complex_int16":
            array = np.round(array.real) + 1j * np.round(array.imag)
        name = f"gdal-{dtype}-{compress}-{tiled}-{interleave}.tif"
        options = {"tiled": tiled} | ({"blockxsize": 16, "blockysize": 16} if tiled else {})
        with rasterio.open(
            folder / name, "w", driver="GTiff", width=shape[2], height=shape[1], count=2, dtype=dtype,
            compress=compress, interleave=interleave, **options,
        ) as file:  # fmt: skip
            file.write(array)
        with rasterio.open(folder / name) as file:
            found = file.read()
        yield name, found if interleave == "band" else np.moveaxis(found, 0, -1), None, None, 1


def by_libvips(folder: Path) -> Iterator[Written]:
    import pyvips

    for dtype, compression, tile, pyramid, bands in itertools.product(
        ("uint8", "uint16", "float32"),
        ("none", "deflate", "lzw", "jpeg"),
        (False, True),
        (False, True),
        (1, 3),
    ):
        if (compression == "jpeg" and dtype != "uint8") or (pyramid and not tile):
            continue
        array = noise((150, 200, bands), dtype)
        name = f"libvips-{dtype}-{compression}-{tile}-{pyramid}-{bands}.tif"
        image = pyvips.Image.new_from_array(array).copy(xres=1000, yres=500)
        options = {"tile": tile, "pyramid": pyramid, "tile_width": 64, "tile_height": 64}
        image.tiffsave(str(folder / name), compression=compression, **options)
        found = pyvips.Image.new_from_file(str(folder / name)).numpy()
        yield name, found, None, [1e-6, 2e-6], 1  # the levels of a pyramid are one image


def by_opencv(folder: Path) -> Iterator[Written]:
    import cv2

    for dtype, code, bands, count in itertools.product(
        ("uint8", "uint16", "float32"), (1, 5, 8), (1, 3), (1, 3)
    ):
        pages = [
            noise((33, 45, bands) if bands > 1 else (33, 45), dtype) + np.dtype(dtype).type(n)
            for n in range(count)
        ]
        name = f"opencv-{dtype}-{code}-{bands}-{count}.tif"
        cv2.imwritemulti(str(folder / name), pages, [cv2.IMWRITE_TIFF_COMPRESSION, code])
        _, found = cv2.imreadmulti(str(folder / name), flags=cv2.IMREAD_UNCHANGED)
        found = [page[..., ::-1] if page.ndim == 3 else page for page in found]
        yield name, np.stack(found) if count > 1 else found[0], None, None, 1


def main(folder: Path) -> None:
    files = {}
    for write in (by_tifffile, by_pillow, by_gdal, by_libvips, by_opencv):
        for name, array, axes, size, images in write(folder):
            np.save(folder / f"{name}.npy", array)
            files[name] = {"axes": axes, "size": size, "images": images}
    (folder / "files.json").write_text(json.dumps(files))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
