"""The plain style, end to end: Dask processes, a bucket, and what each kind of change makes run again."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import prefect
import pytest
import tifffile
from prefect.filesystems import RemoteFileSystem

import cpr
from tests.record_values import Measured

pytestmark = [pytest.mark.real_s3, pytest.mark.slow, pytest.mark.xdist_group("prefect")]

NAMES = ["a", "b", "c"]
TEXT = Path(__file__).with_name("plain_flow.py").read_text()


class Lab:
    """A bucket with images, and the flow's module as a file that can be edited."""

    def __init__(self, url: str, module: Path, records, counted) -> None:
        self.url = url
        self.module = module
        self.records = records
        self.counted = counted
        self.filesystem = fsspec.filesystem(url.partition("://")[0], use_listings_cache=False)
        self.module.write_text(TEXT)
        for index, name in enumerate(NAMES):
            self.put(name, index)

    def put(self, name: str, seed: int) -> None:
        image = np.random.default_rng(seed).random((64, 64), dtype=np.float32)
        path = self.module.with_name(f"{name}.tif")
        tifffile.imwrite(path, image)
        self.filesystem.put_file(str(path), f"{self.url}/raw/{name}.tif")

    def edit(self, old: str, new: str) -> None:
        text = self.module.read_text()
        assert text.count(old) == 1
        self.module.write_text(text.replace(old, new))

    def run(self, **parameters):
        """The masks, and (computed, cached) runs by task."""
        spec = importlib.util.spec_from_file_location("plain_flow", self.module)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        flow = module.segment.with_options(result_storage=self.records)
        result, counts = self.counted(flow, f"{self.url}/raw/*.tif", self.url, **parameters)
        assert {state for states in counts.values() for state in states} <= {"Completed", "Cached"}
        return result, {task: (states["Completed"], states["Cached"]) for task, states in counts.items()}


@pytest.fixture
def lab(s3_url, tmp_path, results, counted, dask_cluster, monkeypatch):
    monkeypatch.setenv("CPR_TEST_DASK", dask_cluster.scheduler_address)
    made = Lab(s3_url, tmp_path / "plain_flow.py", results, counted)
    masks, counts = made.run()
    assert counts == COMPUTED
    assert [mask.get_data().dtype for mask in masks] == [np.dtype(bool)] * 3
    return made


COMPUTED = {"list_files": (1, 0), "denoise_image": (3, 0), "segment_image": (3, 0)}
CACHED = {"list_files": (0, 1), "denoise_image": (0, 3), "segment_image": (0, 3)}


def test_second_run_is_cached_and_equal(lab, s3_url, record_property):
    start = time.perf_counter()
    masks, counts = lab.run()
    record_property("second run, seconds", round(time.perf_counter() - start, 1))
    assert counts == CACHED
    again, _ = lab.run()
    for name, mask, other in zip(NAMES, masks, again, strict=True):
        assert np.array_equal(mask.get_data(), other.get_data())
        assert (mask.get_name(), mask.location) == (name, f"{s3_url}/masks")


def test_a_deleted_object_runs_that_task_alone(lab):
    (path,) = lab.filesystem.glob(f"{lab.url}/denoised/b-*.tif")
    lab.filesystem.rm_file(path)
    _, counts = lab.run()
    assert counts == {**CACHED, "denoise_image": (1, 2)}
    assert lab.filesystem.exists(path)
    assert lab.run()[1] == CACHED


def test_a_replaced_object_of_another_size_runs_that_task_alone(lab):
    (path,) = lab.filesystem.glob(f"{lab.url}/masks/b-*.tif")
    lab.filesystem.pipe_file(path, b"something else")
    masks, counts = lab.run()
    assert counts == {**CACHED, "segment_image": (1, 2)}
    assert masks[1].get_data().shape == (64, 64)


def test_sigma(lab):
    before, _ = lab.run()
    after, counts = lab.run(sigma=2.0)
    assert counts == {**COMPUTED, "list_files": (0, 1)}
    assert not np.array_equal(before[0].get_data(), after[0].get_data())
    assert lab.run(sigma=1.0)[1] == CACHED


def test_a_parameter_of_the_last_task_alone(lab):
    assert lab.run(threshold=0.25)[1] == {**CACHED, "segment_image": (3, 0)}


def test_a_replaced_source_runs_its_own_chain(lab):
    lab.put("b", seed=17)
    _, counts = lab.run()
    assert counts == {**CACHED, "denoise_image": (1, 2), "segment_image": (1, 2)}


def test_a_constant_in_a_body_that_changes_the_result(lab):
    lab.edit("gain = 1.0", "gain = 2.0")
    _, counts = lab.run()
    assert counts == {**COMPUTED, "list_files": (0, 1)}


def test_a_constant_in_a_body_that_changes_nothing(lab):
    lab.edit("gain = 1.0", "gain = 3.0 / 3")
    _, counts = lab.run()
    assert counts == {**CACHED, "denoise_image": (3, 0)}


def test_a_comment_in_a_body_runs_nothing(lab):
    lab.edit("gain = 1.0", "gain = 1.0  # of the camera")
    assert lab.run()[1] == CACHED


def test_records_are_small_and_hold_no_data(lab):
    sizes = {}
    for path in filter(Path.is_file, lab.records.iterdir()):
        record = json.loads(path.read_text())
        inner = json.loads(record["result"]) if "result" in record else record
        if "type" in inner.get("__cpr__", {}):
            sizes[path.name] = (len(path.read_bytes()), len(json.dumps(inner)))
    assert len(sizes) == 6  # three denoised images, three masks
    assert max(whole for whole, _ in sizes.values()) < 1000, sizes


def test_prefects_records_in_the_bucket_too(s3_url, tmp_path, counted, dask_cluster, monkeypatch, results):
    # No settings: endpoint and credentials come from the environment, and are not stored in Prefect.
    RemoteFileSystem(basepath=f"{s3_url}/records").save("cpr-records", overwrite=True)
    monkeypatch.setenv("CPR_TEST_DASK", dask_cluster.scheduler_address)
    lab = Lab(s3_url, tmp_path / "plain_flow.py", "remote-file-system/cpr-records", counted)
    assert lab.run()[1] == COMPUTED
    assert lab.run()[1] == CACHED
    assert len(lab.filesystem.find(f"{s3_url}/records")) >= 8
    (path,) = lab.filesystem.glob(f"{lab.url}/denoised/b-*.tif")
    lab.filesystem.rm_file(path)
    assert lab.run()[1] == {**CACHED, "denoise_image": (1, 2)}


@cpr.task
def measure(url: str) -> Measured:
    from tests.text_format import TextTarget

    note = TextTarget.from_path(f"{url}/note.txt")
    note.set_data("42")
    return Measured(image=note, Name="answer", tags={"a"})


@cpr.task
async def shout(measured: Measured) -> tuple:
    from tests.text_format import TextTarget

    note = TextTarget.from_path(measured.image.location + "/loud.txt")
    note.set_data(measured.image.get_data() + "!")
    return note, {1: measured}


def test_cpr_task_with_models_and_async_on_dask(s3_url, results, counted, dask_cluster):
    from prefect_dask import DaskTaskRunner

    @prefect.flow(
        persist_result=True,
        result_serializer=cpr.cpr_serializer(),
        result_storage=results,
        task_runner=DaskTaskRunner(address=dask_cluster.scheduler_address),
    )
    def both(url):
        return shout.submit(measure.submit(url)).result()

    (note, measured), counts = counted(both, s3_url)
    assert note.get_data() == "42!"
    assert counts == {"measure": {"Completed": 1}, "shout": {"Completed": 1}}
    (note, again), counts = counted(both, s3_url)
    assert counts == {"measure": {"Cached": 1}, "shout": {"Cached": 1}}
    assert again[1].tags == measured[1].tags == {"a"}
    assert again[1].image.get_data() == "42"


SCRIPT = """
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cpr
from prefect import flow
from prefect_dask import DaskTaskRunner
from pydantic import BaseModel


@dataclass
class Cell:
    mask: cpr.NumpyTarget
    area: float


class Size(NamedTuple):
    x: int


class Plate(BaseModel):
    cells: list[Cell]
    size: Size


@cpr.task
def measure(folder: str) -> Plate:
    import numpy as np

    mask = cpr.NumpyTarget.from_path(f"{folder}/mask.npy")
    mask.set_data(np.ones((2, 3), bool))
    return Plate(cells=[Cell(mask, 6.0)], size=Size(2))


@cpr.task
def total(plate: Plate) -> float:
    return sum(cell.mask.get_data().sum() * cell.area for cell in plate.cells) * plate.size.x


@flow(persist_result=True, task_runner=DaskTaskRunner(address=os.environ["CPR_TEST_DASK"]))
def plates(folder: str) -> list:
    measured = measure.submit(folder)
    summed = total.submit(measured)
    return [summed.result(), measured.result().cells[0].area, measured.state.name, summed.state.name]


if __name__ == "__main__":
    storage = Path(os.environ["CPR_TEST_RECORDS"])
    print(json.dumps(plates.with_options(result_storage=storage)(os.environ["CPR_TEST_FOLDER"])))
"""


def test_classes_of_a_script_come_back_in_workers_that_cannot_import_it(
    s3_url, results, dask_cluster, tmp_path
):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "CPR_TEST_DASK": dask_cluster.scheduler_address,
        "CPR_TEST_FOLDER": s3_url,
        "CPR_TEST_RECORDS": str(results),
    }

    def run():
        done = subprocess.run(
            [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    assert run() == [72.0, 6.0, "Completed", "Completed"]
    assert run() == [72.0, 6.0, "Cached", "Cached"]
    dask_cluster.scale(0)
    dask_cluster.scale(2)  # workers that have never seen the classes
    assert run() == [72.0, 6.0, "Cached", "Cached"]


def test_a_missing_bucket_fails_the_task(s3_server, prefect_server, results):
    ran = []

    @cpr.task(retries=1, result_storage=results)
    def store():
        ran.append(1)
        target = cpr.NumpyTarget.from_path(f"s3://{s3_server.bucket}-none/a.npy")
        target.set_data(np.zeros(3))
        return [target]

    for runs in (2, 4):
        with pytest.raises(cpr.ResourceNotFoundError, match="no such bucket"):
            store()
        assert len(ran) == runs  # nothing is cached
    # What Prefect keeps is what the error says.
    assert all(b"NumpyTarget" not in path.read_bytes() for path in results.iterdir())
