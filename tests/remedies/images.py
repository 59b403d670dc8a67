"""Remedies that targets of images name, and what is said of sizes and metadata."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

import cpr
from cpr.data.units import seconds
from tests.remedies.rows import LEFT_OUT, STACK, Row, npy, ome, place, tif


def names(*channels: str) -> dict[str, Any]:
    return {"axes": "CYX", "Channel": {"Name": list(channels)}}


def target(**options: Any) -> Any:
    return cpr.ImageTarget.from_path("memory://remedies/a.tif", **options)


def huge(**options: Any) -> Any:
    """The format of 5 GB, told of them."""
    return target(imagej=True, **options).format.describe(da.zeros((50, 10_000, 10_000), dtype="uint8"))


def like() -> Any:
    made = cpr.ImageTarget.from_path(place("like.tif"), pixel_size=0.25, unit="micron")
    made.set_data(STACK)
    return cpr.ImageSource.from_path(made.persist().url)


FLOATS = STACK.astype("float32")
ROWS: dict[str, Row] = {
    "channels": Row(
        lambda: ome(STACK, metadata=names("a")), "name every channel",
        lambda: ome(STACK, metadata=names("a", "b", "c")),
    ),
    "sizes of which there is no number in one unit": Row(
        lambda: target(metadata={"unit": "fm", "PhysicalSizeX": 1e300, "PhysicalSizeXUnit": "km"}),
        "give all in one unit",
        lambda: target(pixel_size=(0.25, 0.25, 1), unit="micron"),
    ),
    "channels without C": Row(
        lambda: ome(STACK, metadata={**names("a", "b", "c"), "axes": "ZYX"}), "axes= with a C",
        lambda: ome(STACK, metadata=names("a", "b", "c")),
    ),
    "OME's dtypes": Row(
        lambda: ome(STACK.astype("int64")), "astype('float32')", lambda: ome(STACK.astype("float32"))
    ),
    "OME's dtypes, another name": Row(
        lambda: ome(STACK.astype("int64")), "name the file .tif", lambda: tif(STACK.astype("int64"))
    ),
    "ImageJ's dtypes": Row(
        lambda: tif(STACK.astype("int64"), imagej=True), "astype('float32')",
        lambda: tif(STACK.astype("float32"), imagej=True),
    ),
    "ImageJ's dtypes, without it": Row(
        lambda: tif(STACK.astype("int32"), imagej=True), "leave out imagej=True",
        lambda: tif(STACK.astype("int32")),
    ),
    "ImageJ's axes": Row(
        lambda: tif(np.stack([STACK] * 2), imagej=True, metadata={"axes": "CZYX"}), "numpy.moveaxis(array",
        lambda: tif(np.moveaxis(np.stack([STACK] * 2), 0, 1), imagej=True, metadata={"axes": "ZCYX"}),
    ),
    "ImageJ's colours": Row(
        lambda: tif(np.zeros((9, 9, 3), "uint16"), imagej=True), "numpy.moveaxis(array, -1, 0)",
        lambda: tif(
            np.moveaxis(np.zeros((9, 9, 3), "uint16"), -1, 0), imagej=True, metadata={"axes": "CYX"}
        ),
    ),
    "ImageJ's 4 GiB": Row(huge, "compression=None", lambda: huge(compression=None)),
    "what ImageJ does not decompress": Row(
        lambda: tif(STACK, imagej=True, compression="zstd"), "leave that out", lambda: tif(STACK, imagej=True)
    ),
    "what ImageJ does not predict": Row(
        lambda: tif(FLOATS, imagej=True, predictor=True), "leave that out", lambda: tif(FLOATS, imagej=True)
    ),
    "names that ImageJ does not show": Row(
        lambda: tif(STACK, imagej=True, metadata=names("a", "b", "c")), "compression=None",
        lambda: tif(STACK, imagej=True, metadata=names("a", "b", "c"), compression=None),
    ),
    "TIFF's dtypes": Row(
        lambda: tif(STACK.astype("M8[s]")), "use a NumpyTarget", lambda: npy(STACK.astype("M8[s]"))
    ),
    "longdouble": Row(
        lambda: tif(STACK.astype(np.longdouble)), "astype('float32')", lambda: tif(STACK.astype("float32"))
    ),
    "axes and shape": Row(
        lambda: tif(STACK, metadata={"axes": "YX"}), "'axes': 'ZYX'",
        lambda: tif(STACK, metadata={"axes": "ZYX"}),
    ),
    "axes and shape, none": Row(
        lambda: tif(STACK, metadata={"axes": "ZZX"}), "leave them out", lambda: tif(STACK)
    ),
    "pages": Row(
        lambda: tif(STACK, metadata={"axes": "YXZ"}), "numpy.moveaxis",
        lambda: tif(np.moveaxis(STACK, -1, 0), metadata={"axes": "ZYX"}),
    ),
    "predictor": Row(
        lambda: tif(STACK.astype("complex64"), predictor=True), "leave out predictor=True",
        lambda: tif(STACK.astype("complex64")),
    ),
    "metadata that no file holds": Row(
        lambda: tif(STACK, imagej=True, metadata={"custom": {"a": "two\nlines"}}), "leave it out",
        lambda: tif(STACK, imagej=True),
    ),
    # metadata
    "axes that are none": Row(
        lambda: target(metadata={"axes": "Z,Y"}), "one letter per axis",
        lambda: target(metadata={"axes": "ZY"}),
    ),
    "metadata as text": Row(
        lambda: tif(STACK, metadata="ZYX"), "metadata={'axes': 'ZYX'}",
        lambda: tif(STACK, metadata={"axes": "ZYX"}),
    ),
    "metadata as a list": Row(
        lambda: target(metadata=["ZYX"]), "give a dict", lambda: target(metadata={"axes": "ZYX"})
    ),
    "an option among the metadata": Row(
        lambda: tif(STACK, metadata={"imagej": True}), "from_path(path, metadata=..., imagej=...)",
        lambda: tif(STACK, metadata={"unit": "micron"}, imagej=True),
    ),
    "custom that is none": Row(
        lambda: target(metadata={"custom": 3}), LEFT_OUT,
        lambda: (target(metadata={"custom": {"number": 3}}), target()),
    ),
    "unknown key": Row(
        lambda: tif(STACK, metadata={"operator": "me"}), "'custom': {'operator': ...}",
        lambda: tif(STACK, metadata={"custom": {"operator": "me"}}),
    ),
    "a key like no other": Row(
        lambda: target(metadata={"qqqqq": 1}), "for a key of your own",
        lambda: target(metadata={"custom": {"qqqqq": 1}}),
    ),
    "a key with a slip": Row(
        lambda: target(metadata={"Axes": "ZYX"}), "write 'axes'", lambda: target(metadata={"axes": "ZYX"})
    ),
    "keys that are numbers": Row(
        lambda: target(metadata={"custom": {1: "a"}}), LEFT_OUT,
        lambda: (target(metadata={"custom": {"1": "a"}}), target()),
    ),
    "numbers that are none": Row(
        lambda: target(metadata={"custom": {"a": np.inf}}), LEFT_OUT,
        lambda: (target(metadata={"custom": {"a": 1e300}}), target()),
    ),
    "numbers that are too long": Row(
        lambda: target(metadata={"custom": {"a": 10**5000}}), LEFT_OUT,
        lambda: (target(metadata={"custom": {"a": 10**300}}), target()),
    ),
    "values that are no JSON": Row(
        lambda: target(metadata={"custom": {"a": {1}}}), LEFT_OUT,
        lambda: (target(metadata={"custom": {"a": [1]}}), target()),
    ),
    # sizes
    "a resolution of one number": Row(
        lambda: target(resolution=4, unit="micron"), LEFT_OUT,
        lambda: (target(resolution=(4, 4), unit="micron"), target()),
    ),
    "a size of nothing": Row(
        lambda: target(resolution=(0, 0), unit="micron"), "leave it out where it is unknown", target
    ),
    "two units": Row(
        lambda: target(pixel_size=1, unit="nm", metadata={"unit": "micron"}), "leave one of them out",
        lambda: (target(pixel_size=9, unit="nm"), target(pixel_size=1, metadata={"unit": "micron"})),
    ),
    "two sizes": Row(
        lambda: target(pixel_size=1, resolution=(1, 1), unit="micron"), "leave one of them out",
        lambda: (target(pixel_size=1, unit="micron"), target(resolution=(1, 1), unit="micron")),
    ),
    "a size without unit": Row(
        lambda: target(pixel_size=0.25), "pixel_size=0.25, unit='micron'",
        lambda: target(pixel_size=0.25, unit="micron"),
    ),
    "two steps": Row(
        lambda: target(pixel_size=(1, 1, 2), unit="micron", metadata={"spacing": 3}), "leave out spacing",
        lambda: target(pixel_size=(1, 1, 2), unit="micron"),
    ),
    "sizes that are none": Row(
        lambda: target(pixel_size=(1, 1, 1, 1), unit="micron"), "pixel_size=(0.25, 0.25)",
        lambda: target(pixel_size=(0.25, 0.25), unit="micron"),
    ),
    "like no image": Row(
        lambda: target(like="a.tif"), "like=ImageSource.from_path(url)", lambda: target(like=like())
    ),
    "a resolution without unit": Row(
        lambda: target(resolution=(10, 10)), "unit='micron'",
        lambda: (target(resolution=(10, 10), unit="micron"), target(pixel_size=1, unit="micron")),
    ),
    "pixels per centimetre": Row(
        lambda: target(pixel_size=1e-4 / 4, unit="micron"), "Likely: resolution= is in pixels per micron",
        lambda: target(resolution=(4, 4), unit="micron"),
    ),
    "pixels per micron": Row(
        lambda: target(resolution=(1 / 40, 1 / 40), unit="cm"), "resolution= is in pixels per centimetre",
        lambda: target(resolution=(1e4 / 40, 1e4 / 40), unit="cm"),
    ),
    "pixels of another world": Row(
        lambda: target(pixel_size=1e-9, unit="nm"), "pixel_size=0.25, unit='micron'",
        lambda: target(pixel_size=0.25, unit="micron"),
    ),
    "unit of length": Row(
        lambda: tif(STACK, pixel_size=1, unit="furlong"), "convert the pixel size",
        lambda: tif(STACK, pixel_size=0.2, unit="m"),
    ),
    "unit of time": Row(
        lambda: target(metadata={"finterval": 1, "tunit": "fortnight"}), "finterval=",
        lambda: (target(metadata={"finterval": 14 * 86400.0}), seconds(1, "d")),
    ),
    "pixels among lengths": Row(
        lambda: tif(STACK, pixel_size=1, metadata={"unit": "pixel", "PhysicalSizeZ": 1}),
        "pixel_size=(0.25, 0.25, 1), unit='micron'",
        lambda: tif(STACK, pixel_size=(0.25, 0.25, 1), unit="micron"),
    ),
}  # fmt: skip
