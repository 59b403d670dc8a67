"""The contenders: each one's way of writing and reading a result, for `bench.child.measure`."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import numpy as np
import obstore
from obstore.store import S3Store

import cpr
from bench.child import imported

__all__ = [
    "FORMATS",
    "READERS",
    "TABLES",
    "WRITERS",
    "planes",
    "read",
    "stack",
    "store_of",
    "stream",
    "write",
]

SIDE = 2048
PLANE_MIB = SIDE * SIDE * 2 >> 20
TABLES = ("csv", "parquet")
THREADS = os.cpu_count()

# format: class, extension, options, tifffile's options
FORMATS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "tiff-none": ("ImageTarget", ".tif", {"compression": None}, {}),
    "tiff-zlib": (
        "ImageTarget",
        ".tif",
        {},
        {"compression": "zlib", "compressionargs": {"level": 1}, "predictor": True},
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

Work = Callable[[], Any]


class Null:
    """A file that forgets, but counts."""

    nbytes = 0

    def write(self, data: Any) -> int:
        self.nbytes += memoryview(data).nbytes
        return memoryview(data).nbytes


def planes(mib: int) -> Iterator[np.ndarray]:
    """Planes of 8 MiB with the noise of a camera."""
    random = np.random.default_rng(0)
    some = [random.poisson(100, (SIDE, SIDE)).astype("uint16") for _ in range(4)]
    for index in range(mib // PLANE_MIB):
        yield some[index % 4]


def stack(mib: int) -> np.ndarray:
    """The same planes as an array."""
    whole = np.empty((mib // PLANE_MIB, SIDE, SIDE), "uint16")
    for index, plane in enumerate(planes(mib)):
        whole[index] = plane
    return whole


def frame(mib: int) -> Any:
    """A table of about so many MiB of CSV."""
    import pandas as pd

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


def encode(name: str, data: Any, file: Any) -> None:
    """As a user would write it with the format's own library."""
    if name.startswith("tiff"):
        import tifffile

        tifffile.imwrite(file, data, photometric="minisblack", maxworkers=THREADS, **FORMATS[name][3])
    elif name == "npy":
        np.save(file, data)
    elif name == "csv":
        data.to_csv(file, index=False)
    else:
        data.to_parquet(file, compression="zstd")


def decode(name: str, file: Any) -> Any:
    """As a user would read it."""
    if name.startswith("tiff"):
        import tifffile

        return tifffile.imread(file, maxworkers=THREADS)
    if name == "npy":
        return np.load(file)
    import pandas as pd

    return pd.read_csv(file) if name == "csv" else pd.read_parquet(file)


def encoded(name: str, data: Any) -> bytes:
    """What a user would have in memory to send."""
    file = io.BytesIO()
    encode(name, data, file)
    return file.getvalue()


def target_of(name: str, url: str) -> Any:
    """An empty target of a format."""
    cls, ext, options, _ = FORMATS[name]
    return getattr(cpr, cls).from_path(f"{url}/cpr-{name}{ext}", **options)


def store_of(url: str) -> tuple[S3Store, str]:
    """obstore's view of the bucket, and the prefix in it."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return S3Store(bucket, client_options={"allow_http": True, "timeout": "600s"}), prefix


def s3fs() -> Any:
    """s3fs as it comes."""
    return fsspec.filesystem("s3")


def write_cpr(name: str, data: Any, url: str) -> Work:
    target = target_of(name, url)

    def work() -> dict[str, Any]:
        target.set_data(data)
        target.persist()
        return {"record": target.serialize(), "nbytes": target.nbytes}

    return work


def write_temporary_file(name: str, data: Any, url: str) -> Work:
    def work() -> None:
        with tempfile.NamedTemporaryFile() as file:
            encode(name, data, file)
            file.flush()
            s3fs().put_file(file.name, f"{url}/temporary-{name}")

    return work


def write_memory(name: str, data: Any, url: str) -> Work:
    return lambda: s3fs().pipe_file(f"{url}/memory-{name}", encoded(name, data))


def write_obstore(name: str, data: Any, url: str) -> Work:
    store, prefix = store_of(url)
    del data
    # What the one before has encoded.
    ready = s3fs().cat_file(f"{url}/memory-{name}")

    def work() -> None:
        obstore.put(store, f"{prefix}/obstore-{name}", ready)

    return work


def write_pickle(name: str, data: Any, url: str) -> Work:
    storage, pickle = _prefect(url)
    return lambda: storage.write_path(f"pickle-{name}", pickle.dumps(data), _sync=True)


def write_encoding(name: str, data: Any, url: str) -> Work:  # noqa: ARG001
    target = target_of(name, "memory://floor")
    target.set_data(data)
    format = target.format
    return lambda: format.encode(format.stream(data), Null())


def read_cpr(name: str, record: Any, url: str) -> Work:  # noqa: ARG001
    return cpr.load(record).get_data


def read_temporary_file(name: str, record: Any, url: str) -> Work:  # noqa: ARG001
    def work() -> Any:
        with tempfile.NamedTemporaryFile() as file:
            s3fs().get_file(f"{url}/temporary-{name}", file.name)
            return decode(name, file.name)

    return work


def read_memory(name: str, record: Any, url: str) -> Work:  # noqa: ARG001
    return lambda: decode(name, io.BytesIO(s3fs().cat_file(f"{url}/memory-{name}")))


def read_obstore(name: str, record: Any, url: str) -> Work:  # noqa: ARG001
    store, prefix = store_of(url)
    return lambda: decode(name, io.BytesIO(obstore.get(store, f"{prefix}/obstore-{name}").bytes()))


def read_pickle(name: str, record: Any, url: str) -> Work:  # noqa: ARG001
    storage, pickle = _prefect(url)
    return lambda: pickle.loads(storage.read_path(f"pickle-{name}", _sync=True))


def read_decoding(name: str, record: Any, url: str) -> Work:  # noqa: ARG001
    ready = s3fs().cat_file(f"{url}/memory-{name}")
    return lambda: decode(name, io.BytesIO(ready))


def _prefect(url: str) -> tuple[Any, Any]:
    from prefect.filesystems import RemoteFileSystem
    from prefect.serializers import PickleSerializer

    return RemoteFileSystem(basepath=url), PickleSerializer()


Contenders = dict[str, Callable[[str, Any, str], Work]]

WRITERS: Contenders = {
    "cpr": write_cpr,
    "temporary file, s3fs": write_temporary_file,
    "BytesIO, s3fs": write_memory,
    "upload alone, obstore": write_obstore,
    "Prefect's pickles": write_pickle,
    "encoding alone": write_encoding,
}
READERS: Contenders = {
    "cpr": read_cpr,
    "temporary file, s3fs": read_temporary_file,
    "BytesIO, s3fs": read_memory,
    "BytesIO, obstore": read_obstore,
    "Prefect's pickles": read_pickle,
    "decoding alone": read_decoding,
}


def warm_up(url: str, name: str, contender: str) -> None:
    """Imports, connections and threads are there before anything is measured."""
    data = frame(1)[:10] if name in TABLES else np.zeros((2, 16, 16), "uint16")
    if contender == "cpr":
        target = target_of(name, f"{url}/warm-up")
        target.set_data(data)
        cpr.load(target.persist().serialize()).get_data()
    elif contender == "Prefect's pickles":
        storage, pickle = _prefect(f"{url}/warm-up")
        storage.write_path("pickle", pickle.dumps(data), _sync=True)
        pickle.loads(storage.read_path("pickle", _sync=True))
    elif "obstore" in contender:
        store, prefix = store_of(url)
        obstore.put(store, f"{prefix}/warm-up/bytes", b"x")
        obstore.get(store, f"{prefix}/warm-up/bytes").bytes()
    else:
        s3fs().pipe_file(f"{url}/warm-up/bytes", b"x")
        s3fs().cat_file(f"{url}/warm-up/bytes")
    decode(name, io.BytesIO(encoded(name, data)))


def write(format: str, contender: str, mib: int, url: str) -> Work:
    """One contender writes data that is in memory."""
    warm_up(url, format, contender)
    imported()
    return WRITERS[contender](format, frame(mib) if format in TABLES else stack(mib), url)


def read(format: str, contender: str, record: Any, url: str) -> Work:
    """One contender reads what it wrote; cpr verifies it, the others do not."""
    warm_up(url, format, contender)
    imported()
    work = READERS[contender](format, record, url)

    def unless_nothing() -> None:
        if len(work()) < 2:
            raise RuntimeError(f"{contender} read too little")

    return unless_nothing


def stream(format: str, mib: int, url: str) -> Work:
    """cpr writes planes, or tables, that are never in memory all."""
    warm_up(url, format, "cpr")
    imported()
    target = target_of(format, url)

    def work() -> dict[str, Any]:
        if format in TABLES:
            part = frame(1)
            target.set_data(part for _ in range(mib))
        else:
            target.set_data(planes(mib), shape=(mib // PLANE_MIB, SIDE, SIDE), dtype="uint16")
        return {"record": target.serialize(), "nbytes": target.nbytes}

    return work


def stream_planes(format: str, mib: int, url: str) -> Work:
    """cpr writes a stack of 128 planes, however small they are."""
    warm_up(url, format, "cpr")
    imported()
    side = int((mib * 2**20 / 128 / 2) ** 0.5)
    plane = np.random.default_rng(0).poisson(100, (side, side)).astype("uint16")
    target = target_of(format, url)

    def work() -> dict[str, Any]:
        target.set_data((plane + np.uint16(z) for z in range(128)), shape=(128, side, side), dtype="uint16")
        return {"record": target.serialize(), "nbytes": target.nbytes}

    return work


def read_plane(record: Any, url: str) -> Work:
    """cpr reads one plane of a stack, verified, with nothing known of it but its record."""
    warm_up(url, "tiff-none", "cpr")
    imported()
    return lambda: {"mean": float(cpr.load(record).get_data(region=np.s_[57]).mean())}


def read_planes(record: Any, mib: int, url: str) -> Work:
    """cpr reads a stack plane by plane, every part verified."""
    warm_up(url, "npy", "cpr")
    imported()

    def work() -> None:
        source = cpr.load(record)
        for number in range(mib // PLANE_MIB):
            if source.get_data(region=np.s_[number]).shape != (SIDE, SIDE):
                raise RuntimeError("a plane of another shape")

    return work
