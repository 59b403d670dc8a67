"""A flow as scientists write it: nothing but Prefect's own decorators, cpr's key function and serializer."""

import os

import numpy as np
from prefect import flow, task
from prefect_dask import DaskTaskRunner
from skimage.filters import gaussian

from cpr.image import ImageSource, ImageTarget
from cpr.Serializer import cpr_serializer
from cpr.utilities.utilities import task_input_hash


@task(cache_key_fn=task_input_hash)
def list_files(pattern: str) -> list[ImageSource]:
    return ImageSource.glob(pattern)


@task(cache_key_fn=task_input_hash)
def denoise_image(image: ImageSource, sigma: float, folder: str) -> ImageTarget:
    gain = 1.0
    denoised = ImageTarget.from_path(f"{folder}/denoised/{image.get_name()}.tif")
    denoised.set_data((gain * gaussian(image.get_data(), sigma=sigma)).astype(np.float32))
    return denoised


@task(cache_key_fn=task_input_hash)
def segment_image(denoised: ImageTarget, threshold: float, folder: str) -> ImageTarget:
    mask = ImageTarget.from_path(f"{folder}/masks/{denoised.get_name()}.tif")
    mask.set_data(denoised.get_data() > threshold)
    return mask


@flow(
    persist_result=True,
    cache_result_in_memory=False,
    result_serializer=cpr_serializer(),
    task_runner=DaskTaskRunner(address=os.environ["CPR_TEST_DASK"]),
)
def segment(pattern: str, folder: str, sigma: float = 1.0, threshold: float = 0.5) -> list[ImageTarget]:
    denoised = [denoise_image.submit(image, sigma, folder) for image in list_files(pattern)]
    return [segment_image.submit(image, threshold, folder).result() for image in denoised]
