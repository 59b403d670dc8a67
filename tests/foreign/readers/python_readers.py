"""Open cases in one Python package: python_readers.py READER CASES.json ANSWERS.json.

Needs nothing of cpr's, for it runs in environments of the readers. An answer has what the reader says of a
file: `pixels` or `pages` (digests as in cases.py), `extents` by axis, `size` as (value, unit) by axis,
`interval` in seconds, `channels`, `columns`, `valid`; what is not in it, the reader does not tell.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Case = dict[str, Any]
Answer = dict[str, Any]


def digest(array: Any) -> str:
    array = np.asarray(array)
    return hashlib.sha256(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).hexdigest()[
        :16
    ]


def canonical(array: Any, axes: str) -> str:
    order = sorted(range(len(axes)), key=lambda i: "TZCYXS".index(axes[i]))
    return digest(np.asarray(array).transpose(order))


def extents(axes: str, shape: Any) -> dict[str, int]:
    return {letter: int(n) for letter, n in zip(axes, shape, strict=True) if n > 1}


def bioio(case: Case) -> Answer:
    from bioio import BioImage

    if case["kind"] == "OME-Zarr":
        from bioio_ome_zarr import Reader
    elif case["kind"] == "OME-TIFF":
        from bioio_ome_tiff import Reader
    else:
        from bioio_tifffile import Reader
    found = BioImage(case["path"], reader=Reader)
    axes = found.dims.order
    answer = {"pixels": canonical(found.data, axes), "extents": extents(axes, found.shape)}
    sizes = {axis.lower(): value for axis, value in found.physical_pixel_sizes._asdict().items()}
    if case["kind"] == "OME-TIFF":  # units are in what ome-types makes of the OME-XML
        pixels = found.metadata.images[0].pixels
        units = {axis: getattr(pixels, f"physical_size_{axis}_unit").value for axis in sizes}
        interval = pixels.time_increment
    elif case["kind"] == "OME-Zarr":
        units = {axis: str(getattr(found.dimension_properties, axis.upper()).unit or "") for axis in sizes}
        interval = found.time_interval
    else:
        units = dict.fromkeys(sizes, "micron")  # where it knows another, it converts
        interval = None
    answer["size"] = {axis: (value, units[axis]) for axis, value in sizes.items() if value is not None}
    if interval is not None:
        seconds = getattr(interval, "total_seconds", None)
        answer["interval"] = seconds() if seconds else interval
    if case["kind"] in {"OME-Zarr", "OME-TIFF"}:
        answer["channels"] = [str(name) for name in found.channel_names or []]
    return answer


def _plate_by_ngio(case: Case) -> Answer:
    from ngio import open_ome_zarr_plate

    images = open_ome_zarr_plate(case["path"], mode="r").get_images()
    if sorted(images) != case["options"]["fields"]:
        raise ValueError(f"the images {sorted(images)}")
    found = [np.squeeze(images[path].get_image(path="0").get_as_numpy()) for path in sorted(images)]
    return {"pixels": digest(np.stack(found))}


def ngio(case: Case) -> Answer:
    from ngio import open_ome_zarr_container

    if case["kind"] == "OME-Zarr plate":
        return _plate_by_ngio(case)
    container = open_ome_zarr_container(case["path"], mode="r")
    found = container.get_image()
    axes = "".join(found.axes).upper()
    pixel = found.pixel_size
    return {
        "pixels": canonical(found.get_as_numpy(), axes),
        "extents": extents(axes, found.shape),
        "size": {axis: (getattr(pixel, axis), str(pixel.space_unit or "")) for axis in "xyz"},
        "interval": pixel.t,
        "channels": list(found.channel_labels),
    }


def ome_zarr_models(case: Case) -> Answer:
    import zarr
    from ome_zarr_models import open_ome_zarr
    from ome_zarr_models.v05.image import Image

    group = zarr.open_group(case["path"], mode="r")
    found = open_ome_zarr(group)
    if case["kind"] == "OME-Zarr plate":
        kinds = {"": found}
        for path in case["options"]["fields"]:
            well = path.rpartition("/")[0]
            kinds |= {well: open_ome_zarr(group[well]), path: open_ome_zarr(group[path])}
        told = {path: type(one).__name__ for path, one in kinds.items()}
        if told != {path: ("Well", "Image")[path.count("/") - 1] if path else "HCS" for path in kinds}:
            raise TypeError(f"taken for {told}")
        return {"valid": True}
    if not isinstance(found, Image):
        raise TypeError(f"taken for {type(found).__name__}")
    if "labels" in group:
        for label in (
            found.labels.get_label_paths() if hasattr(found.labels, "get_label_paths") else ["cells"]
        ):
            open_ome_zarr(group["labels"][label])
    multiscale = found.attributes.ome.multiscales[0]
    scale = multiscale.datasets[0].coordinateTransformations[0].scale
    return {
        "valid": True,
        "size": {
            axis.name: (value, str(axis.unit or ""))
            for axis, value in zip(multiscale.axes, scale, strict=True)
            if axis.type == "space"
        },
    }


def yaozarrs(case: Case) -> Answer:
    from yaozarrs import validate_zarr_store

    validate_zarr_store(case["path"])
    return {"valid": True}


def tensorstore(case: Case) -> Answer:
    import tensorstore as ts

    path = case["path"] + ("/0" if case["kind"] == "OME-Zarr" else "")
    driver = "zarr" if case["kind"] == "Zarr v2" else "zarr3"
    found = ts.open({"driver": driver, "kvstore": {"driver": "file", "path": path}}, open=True).result()
    answer = {"pages": digest(found.read().result())}
    if case["kind"] == "OME-Zarr":
        answer["extents"] = extents("".join(found.domain.labels).upper(), found.shape)
    return answer


def zarr2(case: Case) -> Answer:
    import zarr

    return {"pages": digest(zarr.open(case["path"], mode="r")[...])}


def gdal(case: Case) -> Answer:
    import rasterio

    with rasterio.open(case["path"]) as file:
        names = sorted(file.subdatasets, key=lambda name: int(name.split(":")[1])) or [case["path"]]
    pages, tags = [], {}
    for name in names:
        with rasterio.open(name) as file:
            bands = file.read()
            pages.append(np.moveaxis(bands, 0, -1) if len(bands) > 1 else bands[0])
            tags = tags or file.tags()
    return {"pages": digest(np.stack(pages))} | _by_tags(
        case, tags.get("TIFFTAG_XRESOLUTION"), tags.get("TIFFTAG_YRESOLUTION"), "cm"
    )


def _by_tags(case: Case, x: Any, y: Any, unit: str) -> Answer:
    """A size by the resolution tags, which say it where ImageJ's unit does not."""
    if case["kind"] == "ImageJ TIFF":
        return {}
    found = {axis: (1 / float(n), unit) for axis, n in (("x", x), ("y", y)) if n is not None and float(n) > 0}
    return {"size": found}


def libvips(case: Case) -> Answer:
    import pyvips

    found = pyvips.Image.new_from_file(case["path"], n=-1, fail_on="warning")
    height = found.get("page-height") if found.get_typeof("page-height") else found.height
    array = found.numpy().reshape(-1, height, found.width, found.bands)
    answer = {"pages": digest(array)}
    if found.get_typeof("resolution-unit"):
        answer |= _by_tags(case, found.xres, found.yres, "mm")
    return answer


def opencv(case: Case) -> Answer:
    import cv2

    done, pages = cv2.imreadmulti(case["path"], flags=cv2.IMREAD_UNCHANGED)
    if not done:
        raise ValueError("imreadmulti gives nothing")
    array = np.stack(pages)
    return {"pages": digest(array[..., ::-1] if array.ndim == 4 else array)}


def pillow(case: Case) -> Answer:
    from PIL import Image, ImageSequence

    with Image.open(case["path"]) as file:
        pages = [np.asarray(page) for page in ImageSequence.Iterator(file)]
        pages = [page.astype("uint8") * 255 if page.dtype == bool else page for page in pages]
        return {"pages": digest(np.stack(pages))}


def numpy(case: Case) -> Answer:
    return {"pages": digest(np.load(case["path"], allow_pickle=False))}


def _columns(frame: dict[str, list[Any]]) -> Answer:
    def plain(value: Any) -> Any:
        if isinstance(value, (dt.datetime, np.datetime64)):
            return str(np.datetime64(value, "s"))
        if value is None or (isinstance(value, float) and np.isnan(value)) or str(value) in {"<NA>", "NaT"}:
            return None
        if isinstance(value, np.generic):
            return value.item()
        return value

    return {"columns": {str(key): [plain(value) for value in values] for key, values in frame.items()}}


def polars(case: Case) -> Answer:
    import polars as pl

    if case["kind"] == "CSV":
        separator = case["options"].get("separator", ",")
        return _columns(
            pl.read_csv(case["path"], separator=separator, try_parse_dates=True).to_dict(as_series=False)
        )
    return _columns(pl.read_parquet(case["path"]).to_dict(as_series=False))


def duckdb(case: Case) -> Answer:
    import duckdb

    read = duckdb.read_csv if case["kind"] == "CSV" else duckdb.read_parquet
    found = read(case["path"])
    rows = found.fetchall()
    return _columns({name: [row[i] for row in rows] for i, name in enumerate(found.columns)})


def pandas(case: Case) -> Answer:
    import pandas as pd

    if case["kind"] == "CSV":
        separator = case["options"].get("separator", ",")
        frame = pd.read_csv(
            case["path"], sep=separator, float_precision="round_trip", dtype_backend="numpy_nullable"
        )
        if "when" in frame:
            frame["when"] = pd.to_datetime(frame["when"])
    else:
        frame = pd.read_parquet(case["path"])
    return _columns({name: frame[name].tolist() for name in frame.columns})


def fastparquet(case: Case) -> Answer:
    import fastparquet

    frame = fastparquet.ParquetFile(case["path"]).to_pandas()
    return _columns({name: frame[name].tolist() for name in frame.columns})


def main(reader: str, cases: str, answers: str) -> None:
    read: Callable[[Case], Answer] = globals()[reader]
    found = {}
    with open(cases) as file:
        wanted = json.load(file)
    for case in wanted:
        try:
            found[case["name"]] = read(case)
        except ImportError:
            raise
        except Exception as error:
            found[case["name"]] = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    with open(answers, "w") as file:
        json.dump(found, file, default=str)


if __name__ == "__main__":
    os.environ["OPENCV_LOG_LEVEL"] = "OFF"
    main(*sys.argv[1:])
