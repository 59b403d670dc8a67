"""`make demo`: a store, two Dask worker processes, a Prefect server; the flow, and the flow again."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from demo.storage import Storage, chosen, keep_records_in, records_of, storage
from tests.minio.process import Unavailable

Rows = list[dict[str, Any]]

REPORT = Path("demo-report.html")

INTRODUCTION = """
A Prefect flow takes four microscopy images: list -> denoise -> segment -> measure, then all of them as one
OME-Zarr, and one summary. Every task returns what any program opens, hashed while it was written.
Prefect keeps a few hundred bytes of JSON for each, and that is all that the workers send each other."""


def main() -> int:
    choice = chosen(sys.argv[1:])
    with ExitStack() as stack:
        try:
            place = stack.enter_context(storage(choice))
        except Unavailable as error:
            print(f"No such server is to be had: {error}")
            return 1
        print(place.description)
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cpr-demo-")))
        print("Starting a Prefect server and two Dask worker processes ...")
        stack.enter_context(prefect_server(home))
        address = stack.enter_context(dask_workers(home))
        bucket = place.url
        put_images(f"{bucket}/raw")
        keep_records_in(f"{bucket}/records")
        print(INTRODUCTION)
        print("\nFirst run: everything is computed.")
        first, rows = run(address, f"{bucket}/raw", f"{bucket}/results")
        show(rows)
        print("\nSecond run: nothing is.")
        second, rows = run(address, f"{bucket}/raw", f"{bucket}/results")
        show(rows)
        print(f"\n{first:.1f} s, then {second:.1f} s: {first / second:.1f} times as fast.\n")
        look(next(row["target"] for row in rows if "/denoised/cell-" in row["url"]))
        look_at_plane(rows[-2]["target"], place)
        print_table(rows[-1]["target"])
        write_report(f"{bucket}/records")
        say_what_next(bucket)
        missed = [row for row in rows if row["state"] != "Cached"]
        if missed:
            print(f"{len(missed)} results were computed again")
    return 1 if missed else 0


@contextmanager
def prefect_server(home: Path) -> Iterator[None]:
    os.environ.update(
        PREFECT_HOME=str(home / "prefect"),
        PREFECT_LOGGING_LEVEL="ERROR",
        PREFECT_LOGGING_TO_API_ENABLED="false",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        os.environ["PREFECT_API_URL"] = PREFECT_API_URL.value()
        yield


@contextmanager
def dask_workers(home: Path) -> Iterator[str]:
    import dask
    from distributed import LocalCluster

    dask.config.set({"temporary-directory": str(home)})
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.ERROR,
    ) as cluster:
        yield cluster.scheduler_address


def put_images(folder: str) -> None:
    import tifffile

    from cpr import io
    from demo.flow import real_images

    for name, pixels in real_images().items():
        file = BytesIO()
        tifffile.imwrite(file, pixels, imagej=True, resolution=(4.0, 4.0), metadata={"unit": "um"})
        with io.writing(f"{folder}/{name}.tif") as remote:
            remote.write(file.getvalue())


def run(address: str, images: str, results: str) -> tuple[float, Rows]:
    """Seconds it took, and a row for each result."""
    from prefect_dask import DaskTaskRunner

    from demo.flow import analyse

    start = time.monotonic()
    found = analyse.with_options(
        task_runner=DaskTaskRunner(address=address), result_storage=records_of(results)
    )(images, results)
    seconds = time.monotonic() - start
    runs = {str(run.id): run for run in task_runs([run_id for run_id, _ in found])}
    return seconds, [
        {
            "url": target.url,
            "shape": shape(target),
            "size": size(target.nbytes),
            "hash": target.data_hash,
            "state": runs[run_id].state_name,
            "seconds": f"{runs[run_id].total_run_time.total_seconds():.2f}",
            "target": target,
        }
        for run_id, target in found
    ]


def task_runs(ids: list[str]) -> list[Any]:
    """The task runs, once the server has heard of every one's end."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterId
    from prefect.client.schemas.sorting import TaskRunSort

    chosen = TaskRunFilter(id=TaskRunFilterId(any_=ids))
    with get_client(sync_client=True) as client:
        for _ in range(300):
            runs = client.read_task_runs(task_run_filter=chosen, sort=TaskRunSort.ID_DESC, limit=200)
            if len(runs) == len(ids) and all(run.state is not None and run.state.is_final() for run in runs):
                return runs
            time.sleep(0.1)
    raise TimeoutError("the Prefect server did not hear of all task runs")


def shape(target: Any) -> str:
    if hasattr(target, "levels"):
        return " x ".join(map(str, target.levels()[0].shape))
    known = getattr(target.format, "shape", None)
    return " x ".join(map(str, known or target.get_data().shape))


def size(nbytes: int) -> str:
    return f"{nbytes / 1024:.0f} kB" if nbytes >= 1024 else f"{nbytes} B"


def show(rows: Rows) -> None:
    columns = {
        "url": "URL",
        "shape": "shape",
        "size": "size",
        "hash": "hash",
        "state": "state",
        "seconds": "seconds",
    }
    named = [
        {**row, "state": {"Completed": "computed", "Cached": "cached"}.get(row["state"], row["state"])}
        for row in rows
    ]
    widths = {key: max(len(title), *(len(row[key]) for row in named)) for key, title in columns.items()}
    print("  ".join(title.ljust(widths[key]) for key, title in columns.items()))
    for row in named:
        print(
            "  ".join(
                row[key].rjust(widths[key]) if key in {"size", "seconds"} else row[key].ljust(widths[key])
                for key in columns
            )
        )


def look(target: Any) -> None:
    """What any other program sees of a result."""
    import fsspec
    import tifffile

    with fsspec.open(target.url, "rb") as file, tifffile.TiffFile(file) as tiff:
        pixels = tiff.asarray()
        where = "bucket" if "://" in target.url else "folder"
        print(f"tifffile, straight from the {where}, reads {target.url}")
        print(f"  {pixels.dtype} {pixels.shape}, axes {tiff.series[0].axes}, {tiff.imagej_metadata}")
        assert (pixels == target.get_data()).all()
    print("All that Prefect keeps of it, from which any worker reads it back, verified:")
    print(f"  {json.dumps(target.serialize())}")


def look_at_plane(target: Any, place: Storage) -> None:
    """What one plane of a large image costs: a proxy before the server counts what passes."""
    import cpr

    image = target.image()
    shapes = ", ".join(" x ".join(map(str, level.shape)) for level in image.levels)
    names = [channel.label for channel in image.channels]
    print(f"\n{target.url}")
    print(
        f"  one OME-Zarr: channels {', '.join(names)}; levels {shapes}; labels {', '.join(target.labels())}"
    )
    record = target.serialize()
    with place.counted() as wire:
        plane = cpr.load(record).get_data(region=names.index("cell"), level=0)
    print(f"  one plane, {' x '.join(map(str, plane.shape))} {plane.dtype}, read from there and verified")
    if wire is not None:
        transferred = f"{size(wire.response_bytes)} of {size(target.nbytes)}"
        print(f"  {transferred} were transferred, in {len(wire.kinds)} requests")


def print_table(target: Any) -> None:
    print(f"\n{target.url}")
    print(target.get_data().to_string(index=False))


def write_report(records: str) -> None:
    """All of it as a page for a browser, from the records alone; `cpr report` does the same."""
    from cpr.operations.report import gather, render

    results, unreadable = gather(records)
    REPORT.write_text(render(results, "The demo's results", unreadable), "utf-8")
    print(f"\nAll of it as one page, with pictures: {REPORT}")


def say_what_next(place: str) -> None:
    """What to type next; the servers of this machine are gone by then, a folder stays."""
    if "://" in place:
        print("\nNext: the same in a folder, which stays: make demo STORAGE=./demo-results")
        return
    volume = next(iter(Path(place, "results").glob("*.ome.zarr")))
    print(
        f"""
Next:
  cpr ls {place}/records             every result, and the task that made it
  cpr show {place}/records summary   one of them: its head, and where it comes from
  cpr verify {place}/records         reads and checks every byte
  cpr report {place}/records         the page, anew
  napari --plugin napari-ome-zarr {volume}"""
    )


if __name__ == "__main__":
    sys.exit(main())
