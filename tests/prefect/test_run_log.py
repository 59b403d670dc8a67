"""A flow on other machines whose records stay in a local folder is warned, once."""

from __future__ import annotations

import logging
import types
import uuid

import numpy as np
import pytest
from prefect.filesystems import LocalFileSystem, RemoteFileSystem

import cpr
from cpr.prefect import run_log
from tests.text_format import TextTarget


@pytest.fixture
def warned(monkeypatch, tmp_path):
    """warned(storage, detached, url, run): how many warnings that gave."""

    def dump(storage, detached=True, location="s3://bucket/results", run=None):
        lines = []
        store = types.SimpleNamespace(result_storage=storage)
        run = types.SimpleNamespace(flow_run_id=run or uuid.uuid4())
        task = types.SimpleNamespace(task_run=run, result_store=store)
        flow = types.SimpleNamespace(detached=detached)
        logger = types.SimpleNamespace(warning=lambda text, *args: lines.append(text % args))
        for name, value in (("TaskRunContext", task), ("FlowRunContext", flow)):
            monkeypatch.setattr(run_log, name, types.SimpleNamespace(get=lambda value=value: value))
        monkeypatch.setattr(run_log, "get_run_logger", lambda: logger)
        run_log.warn_of_local_records({"x": [TextTarget(location, "note", ".txt")]})
        return lines

    return dump


LOCAL = LocalFileSystem(basepath="/tmp/records")


def test_it_names_the_bucket_and_the_remedy(warned):
    (line,) = warned(LOCAL)
    assert 'RemoteFileSystem(basepath="s3://bucket/records").save("results")' in line
    assert 'result_storage="remote-file-system/results"' in line


def test_once_for_each_flow_run(warned):
    run = uuid.uuid4()
    assert [len(warned(LOCAL, run=run)) for _ in range(3)] == [1, 0, 0]
    assert len(warned(LOCAL)) == 1


def test_not_where_all_is_well(warned):
    assert warned(RemoteFileSystem(basepath="s3://bucket/records")) == []
    assert warned(LOCAL, detached=False) == []
    assert warned(LOCAL, location="/data/results") == []
    assert warned(LOCAL, location="memory://results") == []


def test_without_a_run_nothing_is_said():
    assert cpr.cpr_serializer().dumps(1)


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_on_dask(dask_cluster, prefect_server, results, s3_url, tmp_path):
    import prefect
    from prefect_dask import DaskTaskRunner

    said = tmp_path / "said"

    @cpr.task
    def one(url, index):
        logger = logging.getLogger("prefect.task_runs")
        if not any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
            logger.addHandler(logging.FileHandler(said))
        target = cpr.NumpyTarget.from_path(f"{url}/{index}.npy")
        target.set_data(np.arange(index + 1))
        return target

    @prefect.flow(task_runner=DaskTaskRunner(address=dask_cluster.scheduler_address), result_storage=results)
    def run(url):
        return [future.result() for future in [one.submit(url, index) for index in range(6)]]

    run(s3_url)
    assert 1 <= said.read_text().count("Remedy: save RemoteFileSystem") <= 2  # one in each worker
