"""The plain style on GCS: Dask processes, Prefect's records in the bucket, one lost result made again."""

from __future__ import annotations

import dask
import pytest
from distributed import LocalCluster
from prefect.filesystems import RemoteFileSystem

from tests.flows.test_plain_style import CACHED, COMPUTED, Lab

pytestmark = [pytest.mark.gcs, pytest.mark.slow, pytest.mark.xdist_group("prefect")]


@pytest.fixture
def workers(gcs_server, prefect_server, tmp_path):
    """Begun after the emulator: its variables are theirs from the start."""
    dask.config.set({"temporary-directory": str(tmp_path)})
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def test_a_flow_on_workers_with_its_records_in_the_bucket(gs_url, workers, tmp_path, counted, monkeypatch):
    RemoteFileSystem(basepath=f"{gs_url}/records").save("cpr-gcs-records", overwrite=True)
    monkeypatch.setenv("CPR_TEST_DASK", workers)
    lab = Lab(gs_url, tmp_path / "plain_flow.py", "remote-file-system/cpr-gcs-records", counted)
    masks, counts = lab.run()
    assert counts == COMPUTED
    again, counts = lab.run()
    assert counts == CACHED
    assert [mask.data_hash for mask in again] == [mask.data_hash for mask in masks]
    assert len(lab.filesystem.find(f"{gs_url}/records")) >= 8
    (path,) = lab.filesystem.glob(f"{gs_url}/denoised/b-*.tif")
    lab.filesystem.rm_file(path)
    assert lab.run()[1] == {**CACHED, "denoise_image": (1, 2)}
