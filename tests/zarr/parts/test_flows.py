"""Parts in flows: cached one by one, and a task that is retried goes on where it failed."""

from __future__ import annotations

import numpy as np
import pytest

import cpr
from tests.zarr.parts.test_parts import DATA, at_once

pytest.importorskip("prefect")

OPTIONS = {"chunks": (1, 50, 70), "levels": 1, "name": "embryo"}
RUNS: list[str] = []


@cpr.task
def fill(part: cpr.ZarrPart, factor: int) -> cpr.ZarrPart:
    RUNS.append(f"{part.region[0]} {factor}")
    (start, stop), *_ = part.region
    part.set_data(DATA[start:stop] * np.uint16(factor))
    return part


@pytest.fixture(autouse=True)
def fresh(prefect_server, results):
    RUNS.clear()


def volume(url, factors):
    from prefect import flow

    @flow
    def run():
        whole = cpr.OMEZarrTarget.from_path(url, shape=DATA.shape, dtype=DATA.dtype, **OPTIONS)
        parts = [whole.part(region) for region in whole.regions((2,))]
        return whole.assemble(fill.map(parts, factors).result())

    return run()


def test_parts_are_cached_one_by_one(tmp_path):
    url = str(tmp_path / "volume.ome.zarr")
    first = volume(url, [1, 2, 3])
    assert len(RUNS) == 3
    same = volume(url, [1, 2, 3])
    assert len(RUNS) == 3
    assert same.serialize() == first.serialize()
    changed = volume(url, [1, 5, 3])
    assert RUNS[3:] == ["(2, 4) 5"]
    data = DATA * np.repeat(np.array([1, 5, 3], "uint16"), 2)[:, None, None]
    assert changed.data_hash == at_once(cpr.OMEZarrTarget, data, **OPTIONS).data_hash
    for one in (first, changed):
        cpr.load(one.serialize()).verify()


def test_a_part_that_is_gone_is_computed_again(tmp_path):
    from cpr import io

    url = str(tmp_path / "volume.ome.zarr")
    parts = volume(url, [1, 2, 3])
    (victim,) = [path for path in (tmp_path / ".cpr").iterdir() if b"[[2,4]," in path.read_bytes()]
    io.remove(str(victim))
    again = volume(url, [1, 2, 3])
    assert RUNS[3:] == ["(2, 4) 2"]
    assert again.data_hash == parts.data_hash
    again.verify()


def test_a_task_that_is_retried_goes_on(tmp_path):
    from prefect import flow

    url, done = str(tmp_path / "volume.ome.zarr"), []

    @cpr.task(retries=2)
    def compute(url: str) -> cpr.OMEZarrTarget:
        target = cpr.OMEZarrTarget.from_path(url, shape=DATA.shape, dtype=DATA.dtype, **OPTIONS)
        for region in target.missing((1,)):
            if len(done) in (2, 4) and done[-1] != "failed":
                done.append("failed")
                raise RuntimeError("the machine went away")
            target[region] = DATA[region]
            done.append(region[0].start)
        return target

    @flow
    def run():
        return compute(url)

    result = run()
    assert done == [0, 1, "failed", 2, "failed", 3, 4, 5]
    assert result.data_hash == at_once(cpr.OMEZarrTarget, DATA, **OPTIONS).data_hash
    assert cpr.load(result.serialize()).verify()
