"""The flow: list -> denoise -> segment -> measure, one OME-Zarr and one summary of all images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from prefect import flow
from skimage import filters, measure, morphology, restoration

import cpr
from cpr import CSVTarget, ImageSource, ImageTarget, OMEZarrTarget


@cpr.task
def list_images(folder: str) -> list[ImageSource]:
    return ImageSource.glob(f"{folder}/*.tif")


@cpr.task
def denoise(image: ImageSource, weight: float, folder: str) -> ImageTarget:
    target = ImageTarget.from_path(
        f"{folder}/denoised/{image.get_name()}.tif",
        metadata=image.get_metadata(),
        resolution=image.get_resolution(),
    )
    smooth = restoration.denoise_tv_chambolle(image.get_data().astype("float32"), weight=weight)
    target.set_data(smooth.astype("float32"))
    return target


@cpr.task
def segment(denoised: ImageTarget, folder: str) -> ImageTarget:
    pixels = denoised.get_data()
    mask = morphology.opening(pixels > filters.threshold_otsu(pixels), morphology.disk(2))
    target = ImageTarget.from_path(f"{folder}/masks/{denoised.get_name()}.tif")
    target.set_data(mask)
    return target


@cpr.task
def measure_objects(image: ImageSource, mask: ImageTarget, folder: str) -> CSVTarget:
    found = measure.regionprops_table(
        measure.label(mask.get_data()),
        image.get_data(),
        properties=("label", "area", "eccentricity", "intensity_mean"),
    )
    target = CSVTarget.from_path(f"{folder}/objects/{mask.get_name()}.csv")
    target.set_data(pd.DataFrame(found))
    return target


@cpr.task
def assemble(images: list[ImageTarget], masks: list[ImageTarget], folder: str) -> OMEZarrTarget:
    """All images as channels of one, each in the corner of a field that is as large as the largest.

    Plane by plane: one image is in memory. What no image covers is not stored.
    """
    height, width = (max(image.format.shape[axis] for image in images) for axis in (0, 1))

    def on_field(pixels: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
        field = np.zeros((height, width), dtype)
        field[: pixels.shape[0], : pixels.shape[1]] = pixels
        return field

    field = (len(images), height, width)
    names = [image.get_name() for image in images]
    metadata = {**images[0].get_metadata(), "axes": "CYX", "Channel": {"Name": names}}
    target = OMEZarrTarget.from_path(
        f"{folder}/all.ome.zarr",
        metadata=metadata,
        resolution=images[0].get_resolution(),
        chunks=(1, 256, 256),
    )
    target.set_data((on_field(image.get_data(), "float32") for image in images), shape=field, dtype="float32")
    objects = (on_field(measure.label(mask.get_data()), "uint16") for mask in masks)
    target.add_labels("objects", objects, shape=field, dtype="uint16")
    return target


@cpr.task
def summarise(tables: list[CSVTarget], folder: str) -> CSVTarget:
    rows = []
    for table in tables:
        objects = table.get_data()
        rows.append(
            (table.get_name(), len(objects), objects["area"].median(), objects["intensity_mean"].mean())
        )
    target = CSVTarget.from_path(f"{folder}/summary.csv")
    target.set_data(pd.DataFrame(rows, columns=["image", "objects", "median_area", "mean_intensity"]))
    return target


@flow(name="cpr-demo", persist_result=False)
def analyse(images: str, results: str, weight: float = 8.0) -> list[tuple[str, Any]]:
    """The results, each with the id of the task run that it came from; a table of them is in Prefect's UI."""
    futures = []
    smooth = []
    masks = []
    tables = []
    for image in list_images(images):
        denoised = denoise.submit(image, weight, results)
        mask = segment.submit(denoised, results)
        table = measure_objects.submit(image, mask, results)
        futures += [denoised, mask, table]
        smooth.append(denoised)
        masks.append(mask)
        tables.append(table)
    futures.append(assemble.submit(smooth, masks, results))
    futures.append(summarise.submit(tables, results))
    cpr.report_results(futures)
    return [(str(future.task_run_id), future.result()) for future in futures]


def real_images() -> dict[str, np.ndarray[Any, Any]]:
    """Microscopy images that come inside scikit-image's package: nothing is downloaded."""
    from skimage import color, data

    return {
        "cell": data.cell(),
        "retina": np.ascontiguousarray(data.retina()[200:1200, 200:1200, 1]),
        "microaneurysms": data.microaneurysms(),
        "colon": (color.rgb2hed(data.immunohistochemistry())[..., 0] * 4000).clip(0, 4000).astype("uint16"),
    }
