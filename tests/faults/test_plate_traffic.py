"""A plate of 96 wells, computed on a cluster into a bucket: what is sent when one well has changed."""

from __future__ import annotations

import numpy as np
import pytest

import cpr

pytest.importorskip("prefect")

pytestmark = [pytest.mark.real_s3, pytest.mark.slow, pytest.mark.xdist_group("prefect")]

FIELDS = 4


@cpr.task
def correct(source: cpr.NumpySource, well: str, bucket: str) -> list[cpr.OMEZarrTarget]:
    raw = source.get_data()
    images = []
    for field in range(FIELDS):
        image = cpr.OMEZarrTarget.from_path(
            f"{bucket}/images/{well}-{field}.ome.zarr", metadata={"axes": "CYX"}, levels=1, compressors=None
        )
        image.set_data(np.stack([raw + field, raw * 2]))
        images.append(image)
    return images


def screen_of(rows, columns, runner):
    from prefect import flow

    @flow(task_runner=runner)
    def screen(folder: str, bucket: str) -> cpr.OMEPlateTarget:
        wells = [f"{row}{column + 1}" for row in "ABCDEFGH"[:rows] for column in range(columns)]
        sources = [cpr.NumpySource.from_path(f"{folder}/{well}.npy") for well in wells]
        images = correct.map(sources, wells, bucket).result()
        plate = cpr.OMEPlateTarget.from_path(f"{bucket}/plate.ome.zarr", rows=rows, columns=columns)
        plate.set_data(dict(zip(wells, images, strict=True)))
        return plate

    return screen


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("rows", "columns", "size"), [(2, 2, 128), (8, 12, 256)])
def test_one_well_is_sent_and_the_plates_metadata(
    rows, columns, size, proxy, s3_url, tmp_path, results, counted
):
    distributed = pytest.importorskip("distributed")
    dask_runner = pytest.importorskip("prefect_dask").DaskTaskRunner

    for row in "ABCDEFGH"[:rows]:
        for column in range(columns):
            pixels = np.random.default_rng([ord(row), column]).integers(1, 9000, (size, size), "uint16")
            np.save(f"{tmp_path}/{row}{column + 1}.npy", pixels)
    # Workers that find the bucket where this process finds it now, behind the proxy.
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        screen = screen_of(rows, columns, dask_runner(address=cluster.scheduler_address))
        first, counts = counted(screen, str(tmp_path), s3_url)
        assert counts["correct"] == {"Completed": rows * columns}
        np.save(f"{tmp_path}/B2.npy", np.full((size, size), 999, "uint16"))
        proxy.clear()
        changed, counts = counted(screen, str(tmp_path), s3_url)
        sent = proxy.request_bytes
    assert counts["correct"] == {"Cached": rows * columns - 1, "Completed": 1}
    one = FIELDS * 2 * size * size * 2
    print(f"{sent} bytes sent; pixels of a well {one}, of the plate {rows * columns * one}")
    assert one <= sent < one + 3 * changed.persist().manifest + 4096 * rows * columns
    for number, image in enumerate(changed["B", 2]):
        assert int(image.get_data(region=np.s_[0, 0, 0])) == 999 + number
    first.verify()
    changed.verify()
