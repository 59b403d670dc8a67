# ruff: noqa: E501, SIM118, UP008, RUF013 - in the style of flows that exist
"""Flows in the style of custom-prefect-result: what public ones use of its API, written anew.

Segmentation of cells, denoising that is trained on the images, screening of plates, detection of spots with tables
of one's own kind, and alignment of sections. Small functions stand in for the networks.
"""

import threading
from os.path import exists, join
from typing import Any

import numpy as np
import pandas as pd
import xxhash
import zarr
from prefect import flow, task
from prefect.serializers import JSONSerializer
from pydantic import BaseModel

from cpr.csv.CSVTarget import CSVTarget
from cpr.image.ImageSource import ImageSource
from cpr.image.ImageTarget import ImageTarget
from cpr.numpy.NumpySource import NumpySource
from cpr.numpy.NumpyTarget import NumpyTarget
from cpr.Serializer import cpr_serializer
from cpr.Target import Target
from cpr.utilities.utilities import task_input_hash
from cpr.zarr.ZarrSource import ZarrSource


def images_of(image_dicts: list[dict]) -> list:
    if "data_hash" in image_dicts[0].keys():
        return [ImageTarget(**d) for d in image_dicts]
    return [ImageSource(**d) for d in image_dicts]


# ---- cells


class Model:
    def eval(self, data: np.ndarray, diameter: float):
        mask = (data > data.mean()).astype("uint16")
        return mask, [np.gradient(data.astype("float32"))[0], data.astype("float32") / diameter], None


class Parameters(BaseModel):
    diameter: float = 40.0
    save_flows: bool = True


def without_model_and_semaphore(context, arguments: dict[str, Any]):
    kept = {k: v for k, v in arguments.items() if not isinstance(v, (threading.Semaphore, Model))}
    return task_input_hash(context, kept)


@task(cache_key_fn=task_input_hash)
def list_images(input_dir: str, axes: str) -> list[ImageSource]:
    return [
        ImageSource.from_path(
            one.get_path(), metadata={"axes": axes, "unit": "micron"}, resolution=[1 / 0.134] * 2
        )
        for one in ImageSource.glob(join(input_dir, "*.tif"))
    ]


@task(cache_key_fn=without_model_and_semaphore)
def predict(img, model: Model, parameters: Parameters, output_dir: str, gpu: threading.Semaphore):
    gpu.acquire()
    try:
        mask, flows, _ = model.eval(img.get_data(), diameter=parameters.diameter)
    finally:
        gpu.release()
    result = ImageTarget.from_path(
        join(output_dir, img.get_name() + ".tif"),
        metadata=img.get_metadata(),
        resolution=img.get_resolution(),
        imagej=True,
    )
    result.set_data(mask)
    kept = []
    for i, one in enumerate(flows):
        target = NumpyTarget.from_path(join(output_dir, f"{img.get_name()}_flow-{i}.npy"))
        target.set_data(one)
        kept.append(target)
    return result, kept if parameters.save_flows else None


@flow(cache_result_in_memory=False, persist_result=True, result_serializer=cpr_serializer())
def cells(folder: str):
    image_dicts = [one.serialize() for one in list_images(f"{folder}/raw", "YX")]
    gpu, model = threading.Semaphore(1), Model()
    found = [
        predict.submit(one, model, Parameters(), f"{folder}/cells", gpu) for one in images_of(image_dicts)
    ]
    return [{"mask": mask, "flows": flows} for mask, flows in (one.result() for one in found)]


# ---- denoising


@task(cache_key_fn=task_input_hash)
def extract_patches(images: list[ImageSource], folder: str) -> NumpyTarget:
    patches = NumpyTarget(location=f"{folder}/patches", name="patches", ext=".npy")
    patches.set_data(np.stack([one.get_data()[:8, :8] for one in images]))
    return patches


@task(cache_key_fn=task_input_hash)
def train(patches: NumpyTarget, folder: str) -> NumpyTarget:
    weights = NumpyTarget.from_path(f"{folder}/patches/weights.npy")
    weights.set_data(patches.get_data().mean(axis=0).astype("float32"))
    return weights


@task(cache_key_fn=task_input_hash)
def denoise(img: ImageSource, weights: dict, folder: str) -> ImageTarget:
    result = ImageTarget(location=f"{folder}/denoised", name=img.get_name(), ext=".tif", imagej=False)
    result.set_data((img.get_data() - NumpyTarget(**weights).get_data().mean()).astype("float32"))
    result.set_metadata({"axes": "YX", "unit": "micron"})
    result.set_resolution([1 / 0.134] * 2)
    return result


@flow(
    cache_result_in_memory=False,
    persist_result=True,
    result_serializer=cpr_serializer(dumps_kwargs={"indent": 1}),
)
def denoising(folder: str):
    images = list_images(f"{folder}/raw", "YX")
    weights = train(extract_patches(images, folder), folder).serialize()
    return [denoise.submit(one, weights, folder).result() for one in images]


# ---- plates


@task(cache_key_fn=task_input_hash)
def measure(well: ZarrSource, folder: str) -> CSVTarget:
    data = well.get_data()
    table = CSVTarget(location=f"{folder}/tables", name=f"well-{well._group.replace('/', '-')}")
    table.set_data(pd.DataFrame({"well": [well._group], "mean": [float(data[...].mean())]}))
    return table


@flow(
    persist_result=True,
    result_serializer=JSONSerializer(
        object_encoder="cpr.Serializer.target_encoder", object_decoder="cpr.Serializer.target_decoder"
    ),
)
def screening(folder: str):
    wells = [
        ZarrSource.from_path(
            f"{folder}/plate.zarr", group=f"{row}/1/0", slices_start=[0, 0], slices_stop=[4, 4], mode="r"
        )
        for row in "AB"
    ]
    found = [measure.submit(ZarrSource(**one.serialize()), folder).result() for one in wells]
    return {"tables": found, "background": NumpySource.from_path(f"{folder}/background.npz")}


# ---- spots


class ParquetTarget(Target):
    """Of one's own, with the name of one of cpr's."""

    def __init__(self, location: str, name: str, ext: str = ".parq", data_hash: str = None):
        super(ParquetTarget, self).__init__(location=location, name=name, ext=ext, data_hash=data_hash)

    def get_data(self) -> pd.DataFrame:
        if self._data is None:
            assert exists(self.get_path()), f"{self.get_path()} does not exist."
            self._data = pd.read_pickle(self.get_path())
        return self._data

    def _hash_data(self, data) -> str:
        return xxhash.xxh3_64(pd.util.hash_pandas_object(data).to_numpy().tobytes()).hexdigest()

    def _write_data(self):
        if self._data is not None and not exists(self.get_path()):
            self._data.to_pickle(self.get_path())


@task(cache_key_fn=task_input_hash)
def detect(img: ImageSource, at: float, folder: str) -> ParquetTarget:
    y, x = np.nonzero(img.get_data() > at)
    spots = ParquetTarget.from_path(join(folder, "spots", f"{img.get_name()}.parq"))
    spots.set_data(pd.DataFrame({"y": y, "x": x}))
    return spots


@task(cache_key_fn=task_input_hash)
def merge(spots: list[ParquetTarget], folder: str) -> ParquetTarget:
    merged = ParquetTarget(location=f"{folder}/spots", name="all")
    merged.set_data(pd.concat([one.get_data() for one in spots], ignore_index=True))
    return merged


@flow(cache_result_in_memory=False, persist_result=True, result_serializer=cpr_serializer())
def spots(folder: str):
    found = [detect.submit(one, 200.0, folder).result() for one in list_images(f"{folder}/raw", "YX")]
    return merge(found, folder)


# ---- sections


@task(cache_key_fn=task_input_hash)
def create_volume(folder: str, shape: list[int]) -> ZarrSource:
    from cpr.zarr.stores.url_store import UrlStore

    group = zarr.open_group(UrlStore(f"{folder}/aligned.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=tuple(shape), chunks=(1, *shape[1:]), dtype="uint8", fill_value=0)
    return ZarrSource.from_path(f"{folder}/aligned.zarr", group="0", mode="w")


@task(cache_key_fn=task_input_hash)
def align_section(source: ZarrSource, volume: ZarrSource, z: int) -> ZarrSource:
    volume.get_data()[z] = np.roll(source.get_data()[z], z, axis=0)
    _, height, width = volume.get_data().shape
    return ZarrSource.from_path(
        path=volume.get_path(),
        group=volume._group,
        slices_start=[z, 0, 0],
        slices_stop=[z + 1, height, width],
    )


@flow(cache_result_in_memory=False, persist_result=True, result_serializer=cpr_serializer())
def alignment(folder: str):
    source = ZarrSource.from_path(f"{folder}/sections.zarr", group="0")
    volume = ZarrSource(**create_volume(folder, [3, 16, 16]).serialize())
    return [align_section.submit(source, volume, z).result() for z in range(3)]
