"""What is measured: each contender's way of writing and reading one result, run in a process of its own.

    python -m bench.cases '{"format": "tiff-none", "contender": "cpr", "action": "write", ...}'

prints one JSON object: seconds, CPU seconds, peak memory over the imports in MiB, bytes stored.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import numpy as np
import obstore
import pandas as pd
import tifffile
from obstore.store import S3Store

import cpr

SIDE = 2048
PLANE_MIB = SIDE * SIDE * 2 >> 20

# format: class, extension, options, tifffile's options
FORMATS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "tiff-none": ("ImageTarget", ".tif", {"compression": None}, {}),
    "tiff-zlib": (
        "ImageTarget",
        ".tif",
        {},
        {"compression": "zlib", "compressionargs": {"level": 1}, "predictor": True},
    ),
    "tiff-zlib-6": (
        "ImageTarget",
        ".tif",
        {"level": 6},
        {"compression": "zlib", "compressionargs": {"level": 6}, "predictor": True},
    ),
    "tiff-zstd": (
        "ImageTarget",
        ".tif",
        {"compression": "zstd"},
        {"compression": "zstd", "compressionargs": {"level": 3}, "predictor": True},
    ),
    "npy": ("NumpyTarget", ".npy", {}, {}),
    "csv": ("CSVTarget", ".csv", {}, {}),
    "parquet": ("ParquetTarget", ".parquet", {}, {}),
}


class Null:
    """A file that forgets."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def planes(mib: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    some = [random.poisson(100, (SIDE, SIDE)).astype("uint16") for _ in range(4)]
    for index in range(mib // PLANE_MIB):
        yield some[index % 4]


def stack(mib: int) -> np.ndarray:
    whole = np.empty((mib // PLANE_MIB, SIDE, SIDE), "uint16")
    for index, plane in enumerate(planes(mib)):
        whole[index] = plane
    return whole


def frame(mib: int) -> pd.DataFrame:
    rows = mib * 11_000  # about 95 bytes of text each
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "label": np.arange(rows),
            "area": random.integers(20, 2000, rows),
            "x": random.normal(size=rows),
            "y": random.normal(size=rows),
            "intensity": random.normal(100, 10, rows),
            "kind": random.choice(["nucleus", "cell", "debris"], rows),
        }
    )


def data_of(name: str, mib: int) -> Any:
    return frame(mib) if name in {"csv", "parquet"} else stack(mib)


def encode(name: str, data: Any, file: Any) -> None:
    """As a user would write it with the format's own library."""
    if name.startswith("tiff"):
        tifffile.imwrite(file, data, photometric="minisblack", maxworkers=os.cpu_count(), **FORMATS[name][3])
    elif name == "npy":
        np.save(file, data)
    elif name == "csv":
        data.to_csv(file, index=False)
    else:
        data.to_parquet(file, compression="zstd")


def decode(name: str, file: Any) -> Any:
    if name.startswith("tiff"):
        return tifffile.imread(file, maxworkers=os.cpu_count())
    if name == "npy":
        return np.load(file)
    return pd.read_csv(file) if name == "csv" else pd.read_parquet(file)


def target_of(name: str, url: str) -> Any:
    cls, ext, options, _ = FORMATS[name]
    return getattr(cpr, cls).from_path(f"{url}/cpr-{name}{ext}", **options)


def store_of(url: str) -> tuple[S3Store, str]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return S3Store(bucket, client_options={"allow_http": True}), prefix


def encoded(name: str, data: Any) -> bytes:
    file = io.BytesIO()
    encode(name, data, file)
    return file.getvalue()


def write_cpr(name: str, data: Any, url: str) -> Callable[[], Any]:
    target = target_of(name, url)
    target.set_data(data)
    return target.persist


def write_cpr_stream(name: str, mib: int, url: str) -> Callable[[], Any]:
    target = target_of(name, url)
    shape = (mib // PLANE_MIB, SIDE, SIDE)
    return lambda: target.set_data(planes(mib), shape=shape, dtype="uint16")


def write_temporary_file(name: str, data: Any, url: str) -> Callable[[], Any]:
    def run() -> None:
        with tempfile.NamedTemporaryFile() as file:
            encode(name, data, file)
            file.flush()
            fsspec.filesystem("s3").put_file(file.name, f"{url}/temporary-{name}")

    return run


def write_memory(name: str, data: Any, url: str) -> Callable[[], Any]:
    return lambda: fsspec.filesystem("s3").pipe_file(f"{url}/memory-{name}", encoded(name, data))


def write_obstore(name: str, data: Any, url: str) -> Callable[[], Any]:
    store, prefix = store_of(url)
    ready = encoded(name, data)
    return lambda: obstore.put(store, f"{prefix}/obstore-{name}", ready)


def write_pickle(name: str, data: Any, url: str) -> Callable[[], Any]:
    from prefect.filesystems import RemoteFileSystem
    from prefect.serializers import PickleSerializer

    storage = RemoteFileSystem(basepath=url)
    return lambda: storage.write_path(f"pickle-{name}", PickleSerializer().dumps(data), _sync=True)


def write_encoding(name: str, data: Any, url: str) -> Callable[[], Any]:  # noqa: ARG001
    target = target_of(name, "memory://floor")
    target.set_data(data)
    format = target.format
    return lambda: format.encode(format.stream(data), Null())


def read_cpr(name: str, record: Any, url: str) -> Callable[[], Any]:  # noqa: ARG001
    return cpr.load(record).get_data


def read_temporary_file(name: str, record: Any, url: str) -> Callable[[], Any]:  # noqa: ARG001
    def run() -> Any:
        with tempfile.NamedTemporaryFile() as file:
            fsspec.filesystem("s3").get_file(f"{url}/temporary-{name}", file.name)
            return decode(name, file.name)

    return run


def read_memory(name: str, record: Any, url: str) -> Callable[[], Any]:  # noqa: ARG001
    return lambda: decode(name, io.BytesIO(fsspec.filesystem("s3").cat_file(f"{url}/memory-{name}")))


def read_obstore(name: str, record: Any, url: str) -> Callable[[], Any]:  # noqa: ARG001
    store, prefix = store_of(url)
    return lambda: decode(name, io.BytesIO(obstore.get(store, f"{prefix}/obstore-{name}").bytes()))


def read_pickle(name: str, record: Any, url: str) -> Callable[[], Any]:  # noqa: ARG001
    from prefect.filesystems import RemoteFileSystem
    from prefect.serializers import PickleSerializer

    storage = RemoteFileSystem(basepath=url)
    return lambda: PickleSerializer().loads(storage.read_path(f"pickle-{name}", _sync=True))


def read_decoding(name: str, record: Any, url: str) -> Callable[[], Any]:  # noqa: ARG001
    ready = fsspec.filesystem("s3").cat_file(f"{url}/memory-{name}")
    return lambda: decode(name, io.BytesIO(ready))


WRITERS: dict[str, Callable[..., Callable[[], Any]]] = {
    "cpr": write_cpr,
    "temporary file, s3fs": write_temporary_file,
    "BytesIO, s3fs": write_memory,
    "upload alone, obstore": write_obstore,
    "Prefect pickle": write_pickle,
    "encoding alone": write_encoding,
}
READERS: dict[str, Callable[..., Callable[[], Any]]] = {
    "cpr": read_cpr,
    "temporary file, s3fs": read_temporary_file,
    "BytesIO, s3fs": read_memory,
    "BytesIO, obstore": read_obstore,
    "Prefect pickle": read_pickle,
    "decoding alone": read_decoding,
}


def peak_mib() -> float:
    """The most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def warm_up(url: str) -> None:
    """Imports, connections and threads of all contenders are there before anything is measured."""
    small = cpr.NumpyTarget.from_path(f"{url}/warm-up.npy")
    small.set_data(np.random.default_rng().random(10))
    cpr.load(small.persist().serialize()).get_data()
    store, prefix = store_of(url)
    obstore.put(store, f"{prefix}/warm-up", b"x")
    fsspec.filesystem("s3").cat_file(f"{url}/warm-up")


def main(case: dict[str, Any]) -> dict[str, Any]:
    name, url, mib = case["format"], case["url"], case["mib"]
    warm_up(url)
    if case["action"] == "write":
        if case["contender"] == "cpr, streamed":
            run = write_cpr_stream(name, mib, url)
            imported = peak_mib()
        else:
            imported = peak_mib()
            data = data_of(name, mib)
            run = WRITERS[case["contender"]](name, data, url)
    else:
        imported = peak_mib()
        run = READERS[case["contender"]](name, case.get("record"), url)
    started, used = time.perf_counter(), cpu()
    result = run()
    seconds, used = time.perf_counter() - started, cpu() - used
    found = {"seconds": seconds, "cpu": used, "peak": peak_mib() - imported}
    if case["contender"] == "cpr" and case["action"] == "write":
        found |= {"record": result.serialize(), "nbytes": result.nbytes}
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
