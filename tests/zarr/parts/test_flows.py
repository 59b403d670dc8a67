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


class Sliced:
    """An array elsewhere, which tells what it is asked for, and fails once."""

    shape, dtype, chunks = DATA.shape, DATA.dtype, (1, 50, 70)

    def __init__(self, factor, done):
        self.factor, self.done = factor, done

    def __getitem__(self, region):
        start = region[0].start
        if (self.factor, start) == (2, 3) and "failed" not in self.done:
            self.done.append("failed")
            raise ConnectionError
        self.done.append((self.factor, start))
        return DATA[region] * np.uint16(self.factor)


@pytest.mark.parametrize("is_published", [False, True])
@pytest.mark.parametrize("how", ["loops", "slices"])
def test_two_of_one_name_in_a_task_that_is_retried(how, is_published, tmp_path, monkeypatch):
    """Neither goes on with what was written of the other, whatever of them was published by then."""
    from prefect import flow

    from cpr.zarr.parts import resumed

    monkeypatch.setattr(resumed, "_LEAST_BYTES", 1)
    monkeypatch.setattr(resumed, "_UNIT_BYTES", 1)
    done = []

    def write(url, factor):
        data = Sliced(factor, done)
        if how == "slices":
            target = cpr.ZarrTarget.from_path(url, chunks=data.chunks)
            target.set_data(data)
            return target
        target = cpr.ZarrTarget.from_path(url, shape=data.shape, dtype=data.dtype, chunks=data.chunks)
        for region in target.missing((1,)):
            target[region] = data[region]
        return target

    @cpr.task(retries=1)
    def both(url: str) -> list[cpr.ZarrTarget]:
        targets = []
        for factor in (1, 2):
            targets.append(write(url, factor))
            if is_published:
                targets[-1].persist()
        return targets

    @flow
    def run():
        return both(str(tmp_path / "volume.zarr"))

    for factor, target in zip((1, 2), run(), strict=True):
        assert np.array_equal(target.get_data()[...], DATA * np.uint16(factor))
        target.verify()
    again = [] if not is_published else [(1, start) for start in range(6)]
    assert done == [*((1, n) for n in range(6)), (2, 0), (2, 1), (2, 2), "failed", *again] + [
        (2, n) for n in (3, 4, 5)
    ]
