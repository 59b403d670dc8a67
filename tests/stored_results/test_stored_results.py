"""Results that earlier versions of cpr have stored load, verify and decode; so do Prefect's records of them.

`0.1.0` was written by cpr 0.1.0 with Prefect 3.8.8, by tasks of a flow: the objects (`objects.zip`, as they
lay under memory://), the flow's records (`records.json`) and Prefect's result storage (`prefect`).
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.records.registry import envelope

STORED = Path(__file__).parent / "0.1.0"
RECORDS: dict[str, Any] = json.loads((STORED / "records.json").read_text())
PREFECT = sorted(path.name for path in (STORED / "prefect").iterdir() if path.is_file())


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": [1, 2, 3],
            "area": [0.1, 2.5, np.nan],
            "name": pd.array(["a", None, "c"], dtype="string"),
            "kind": pd.Categorical(["x", "y", "x"]),
            "when": pd.to_datetime(["2026-01-01", "2026-01-02", None], utc=True),
        },
        index=pd.Index(["r", "s", "t"], name="row"),
    )


def stack() -> np.ndarray:
    return np.arange(2 * 3 * 24 * 32, dtype="uint16").reshape(2, 3, 24, 32)


EXPECTED = {
    "imagej": stack,
    "ome": lambda: stack().astype("int32"),
    "mask": lambda: stack()[0, 0] > 300,
    "large": lambda: np.random.default_rng(0).integers(0, 4, (6, 700, 700), "uint8"),
    "csv": frame,
    "csvgz": frame,
    "parquet": frame,
    "npy": lambda: np.array([(1, 2.5), (3, -1)], dtype=[("a", "<i4"), ("b", "<f8")]),
    "zarr": stack,
    "zarr2": stack,
    "sharded": stack,
    "omezarr": lambda: stack().transpose(1, 0, 2, 3),
    "plain": lambda: np.arange(5) * 2,
}


@pytest.fixture(autouse=True)
def objects() -> None:
    memory = fsspec.filesystem("memory")
    with zipfile.ZipFile(STORED / "objects.zip") as archive:
        for name in archive.namelist():
            memory.pipe(f"/{name}", archive.read(name))


def require_equal(data: Any, expected: Any) -> None:
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(data, expected, check_exact=True)
    else:
        found = np.asarray((data["0"] if hasattr(data, "members") else data)[...])
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_there_is_a_result_of_every_kind_of_target():
    kinds = {record["__cpr__"]["type"] for record in RECORDS.values()}
    since = {"OMEPlateTarget"}  # kinds that did not exist when these were stored
    assert kinds == {name for name in cpr.__all__ if name.endswith("Target") and name != "Target"} - since
    assert RECORDS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("kind", RECORDS)
def test_a_stored_record_gives_the_data(kind):
    target = cpr.load(RECORDS[kind])
    target.check()
    target.check(full=True)
    require_equal(target.get_data(), EXPECTED[kind]())


@pytest.mark.parametrize("kind", RECORDS)
def test_a_stored_record_is_written_again_as_it_was(kind):
    assert envelope(cpr.load(RECORDS[kind])) == RECORDS[kind]


@pytest.mark.parametrize(
    "kind", [kind for kind in RECORDS if not kind.endswith(("zarr", "zarr2", "sharded"))]
)
def test_equal_data_still_has_the_stored_name_and_hash(kind):
    stored = cpr.load(RECORDS[kind])
    again = type(stored)(stored.location, stored.name, stored.ext, stored.format)
    again.set_data(EXPECTED[kind]())
    assert (again.data_hash, again.url) == (stored.data_hash, stored.url)


@pytest.mark.parametrize("name", PREFECT)
def test_a_stored_record_of_prefect_gives_the_result(name):
    from prefect.filesystems import LocalFileSystem
    from prefect.results import ResultStore

    serializer = cpr.cpr_serializer()  # its class is imported by whoever reads records
    store = ResultStore(result_storage=LocalFileSystem(basepath=str(STORED / "prefect")))
    text = (STORED / "prefect" / name).read_bytes()
    # Prefect keeps a flow's result without metadata.
    value = store.read(name).result if b'"metadata"' in text[:20] else serializer.loads(text)
    if isinstance(value, cpr.Target):
        found = {"plain": value}
    elif "target" in value:
        kind, factor = value[1]
        assert type(value[1]) is tuple and factor == 2
        found = {kind: value["target"]}
    else:
        found = value
    for kind, target in found.items():
        require_equal(target.get_data(), EXPECTED[kind]())
