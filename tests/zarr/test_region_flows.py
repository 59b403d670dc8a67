"""Regions in flows: a task runs again if what its region touches has changed, and not for anything else."""

from __future__ import annotations

import numpy as np
import pytest

import cpr
from cpr import io

pytest.importorskip("prefect")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]

DATA = np.random.default_rng(0).integers(0, 900, (3, 60, 80), dtype="uint16")
RUNS: list[int] = []


@cpr.task
def total(channel: cpr.ZarrRegion, number: int) -> int:
    RUNS.append(number)
    return int(channel.get_data().sum())


@cpr.task
def choose(image: cpr.OMEZarrTarget, number: int) -> cpr.ZarrRegion:
    return image.region(np.s_[number])


@pytest.fixture(autouse=True)
def fresh(prefect_server, results):
    RUNS.clear()


def image_of(data, folder) -> cpr.OMEZarrTarget:
    image = cpr.OMEZarrTarget.from_path(
        str(folder / "cells.ome.zarr"), metadata={"axes": "CYX"}, chunks=(1, 30, 30), levels=2
    )
    image.set_data(data)
    return image


def test_a_channel_that_changed_runs_alone(tmp_path):
    from prefect import flow

    @flow
    def measure(data: np.ndarray) -> list[int]:
        image = image_of(data, tmp_path)
        channels = [image.region(np.s_[number]) for number in range(3)]
        return total.map(channels, range(3)).result()

    changed = DATA.copy()
    changed[2] = 5
    assert measure(DATA) == DATA.sum((1, 2)).tolist()
    assert sorted(RUNS) == [0, 1, 2]
    assert measure(DATA) == DATA.sum((1, 2)).tolist()
    assert sorted(RUNS) == [0, 1, 2]
    assert measure(changed) == changed.sum((1, 2)).tolist()
    assert RUNS[3:] == [2]


def test_regions_are_parameters_and_results(tmp_path):
    from prefect import flow

    @flow
    def through(channel: cpr.ZarrRegion) -> cpr.ZarrRegion:
        assert isinstance(channel, cpr.ZarrRegion)
        return channel

    @flow
    def chosen(data: np.ndarray) -> tuple[cpr.ZarrRegion, int]:
        region = choose(image_of(data, tmp_path), 1)
        return region, total(region, 1)

    region, value = chosen(DATA)
    assert np.array_equal(region.get_data(), DATA[1])
    assert value == DATA[1].sum()
    assert through(region).identity() == region.identity()
    changed = DATA.copy()
    changed[0] = 5
    again, value = chosen(changed)
    # Another image, of which the region is the same: what reads it does not run again.
    assert again.url != region.url
    assert RUNS == [1]


def test_a_region_of_a_result_that_is_gone_is_made_again(tmp_path):
    from prefect import flow

    @cpr.task
    def make(data: np.ndarray) -> cpr.ZarrRegion:
        RUNS.append(0)
        return image_of(data, tmp_path).region(np.s_[2])

    @flow
    def run() -> cpr.ZarrRegion:
        return make(DATA)

    first = run()
    assert run().url == first.url
    assert RUNS == [0]
    for place in io.find(f"{first.url}/**", hidden=True):
        io.remove(place)
    again = run()
    assert RUNS == [0, 0]
    assert again.identity() == first.identity()
    assert np.array_equal(again.get_data(), DATA[2])
