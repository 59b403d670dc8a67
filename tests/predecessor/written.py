"""Files and records as custom-prefect-result has written them, made here byte for byte in its form.

Source: `_write_data`, `_hash_data` and `serialize` of its classes, https://github.com/fmi-faim/custom-prefect-result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import xxhash


def array_hash(array: np.ndarray) -> str:
    head = f"{array.dtype},{array.shape},".encode("ascii")
    return xxhash.xxh3_64(head + array.tobytes()).hexdigest()


def table_hash(frame: pd.DataFrame) -> str:
    return xxhash.xxh3_64(pd.util.hash_pandas_object(frame).to_numpy().tobytes()).hexdigest()


def image_target(
    folder: Path, array: np.ndarray, metadata=None, resolution=None, imagej=True
) -> dict[str, Any]:
    data_hash = array_hash(array)
    options: dict[str, Any] = {"compression": "zlib", "imagej": imagej}
    if metadata is not None:
        options |= {"metadata": metadata, "resolutionunit": "CENTIMETER"}
        options["resolution"] = tuple(resolution) if resolution else (1.0,) * array.ndim
    elif resolution is not None:
        options |= {"resolution": tuple(resolution), "resolutionunit": "CENTIMETER"}
    if len(options.get("resolution", ())) > 2:
        options["resolution"] = options["resolution"][:2]  # tifffile takes two by now
    tifffile.imwrite(folder / f"cell-{data_hash}.tif", array, **options)
    data = {"location": str(folder), "name": "cell", "ext": ".tif", "data_hash": data_hash}
    data |= {"resolution": resolution, "metadata": metadata, "imagej": imagej}
    return {"__class__": "cpr.image.ImageTarget.ImageTarget", "data": data}


def numpy_target(folder: Path, array: np.ndarray) -> dict[str, Any]:
    data_hash = array_hash(array)
    np.save(folder / f"flow-{data_hash}.npy", array)
    data = {"location": str(folder), "name": "flow", "ext": ".npy", "data_hash": data_hash}
    return {"__class__": "cpr.numpy.NumpyTarget.NumpyTarget", "data": data}


def csv_target(folder: Path, frame: pd.DataFrame) -> dict[str, Any]:
    data_hash = table_hash(frame)
    frame.to_csv(folder / f"cells-{data_hash}.csv", mode="w")
    data = {"location": str(folder), "name": "cells", "ext": ".csv", "data_hash": data_hash}
    return {"__class__": "cpr.csv.CSVTarget.CSVTarget", "data": data}


def source(kind: str, path: Path, **more: Any) -> dict[str, Any]:
    package = {"ImageSource": "image", "CSVSource": "csv", "NumpySource": "numpy", "ZarrSource": "zarr"}[kind]
    data = {"location": str(path.parent), "name": path.stem, "ext": path.suffix, **more}
    return {"__class__": f"cpr.{package}.{kind}.{kind}", "data": data}
