"""Plates in flows: wells are computed by mapped tasks, each cached by itself."""

from __future__ import annotations

import numpy as np
import pytest

import cpr

pytest.importorskip("prefect")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


@cpr.task
def correct(source: cpr.NumpySource, well: str, fields: int) -> list[cpr.OMEZarrTarget]:
    raw = source.get_data()
    images = []
    for field in range(fields):
        image = cpr.OMEZarrTarget.from_path(
            f"{source.location}/images/{well}-{field}.ome.zarr", metadata={"axes": "CYX"}, levels=1
        )
        image.set_data(np.stack([raw + field, raw * 2]))
        images.append(image)
    return images


@cpr.task
def brightest(image: cpr.OMEZarrField) -> int:
    return int(image.get_data(region=np.s_[1]).max())


def names(rows, columns):
    return [(row, str(column + 1)) for row in "ABCDEFGH"[:rows] for column in range(columns)]


def written(folder, wells):
    for number, (row, column) in enumerate(wells):
        np.save(f"{folder}/{row}{column}.npy", np.full((16, 16), number, "uint16"))


def screen_of(rows, columns, fields, runner=None):
    from prefect import flow
    from prefect.task_runners import ThreadPoolTaskRunner

    @flow(task_runner=runner or ThreadPoolTaskRunner(max_workers=4))
    def screen(folder: str) -> cpr.OMEPlateTarget:
        wells = names(rows, columns)
        sources = [cpr.NumpySource.from_path(f"{folder}/{row}{column}.npy") for row, column in wells]
        images = correct.map(sources, ["".join(well) for well in wells], fields).result()
        plate = cpr.OMEPlateTarget.from_path(f"{folder}/plate.ome.zarr", rows=rows, columns=columns)
        plate.set_data(dict(zip(wells, images, strict=True)))
        return plate

    return screen


def one_changed_well_runs_alone(folder, counted, rows, columns, fields, runner=None):
    wells = names(rows, columns)
    written(folder, wells)
    screen = screen_of(rows, columns, fields, runner)
    first, counts = counted(screen, str(folder))
    assert counts["correct"] == {"Completed": len(wells)}
    same, counts = counted(screen, str(folder))
    assert counts["correct"] == {"Cached": len(wells)}
    assert same.identity() == first.identity()
    np.save(f"{folder}/B3.npy", np.full((16, 16), 999, "uint16"))
    changed, counts = counted(screen, str(folder))
    assert counts["correct"] == {"Cached": len(wells) - 1, "Completed": 1}
    assert changed.wells() == tuple(wells)
    for number, well in enumerate(wells):
        value = 999 if well == ("B", "3") else number
        old, new = (plate[well] for plate in (first, changed))
        assert [int(image.get_data(region=np.s_[0, 0, 0])) for image in new] == [
            value + n for n in range(fields)
        ]
        same = [one.identity() == other.identity() for one, other in zip(old, new, strict=True)]
        assert same == [well != ("B", "3")] * fields
    first.verify()
    changed.verify()
    return first, changed


def test_one_well_of_a_small_plate(tmp_path, results, counted):
    first, changed = one_changed_well_runs_alone(tmp_path, counted, 2, 4, 2)
    from prefect import flow

    @flow
    def measure(plate: cpr.OMEPlateTarget) -> list[int]:
        return brightest.map([plate[well][0] for well in plate.wells()]).result()

    # A field of a plate counts by itself, whichever plate it is read from.
    assert measure(first) == [2 * n for n in range(8)]
    values, counts = counted(measure, changed)
    assert values == [0, 2, 4, 6, 8, 10, 2 * 999, 14]
    assert counts["brightest"] == {"Cached": 7, "Completed": 1}


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_one_well_of_96_on_dask(tmp_path, results, counted, dask_cluster):
    from prefect_dask import DaskTaskRunner

    runner = DaskTaskRunner(address=dask_cluster.scheduler_address)
    one_changed_well_runs_alone(tmp_path, counted, 8, 12, 4, runner)
