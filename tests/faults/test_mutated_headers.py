"""Footers of Parquet and headers of TIFF with bytes changed: typed errors, and nothing is run or opened.

The full size, 200,000 of each kind, runs with `--long`.
"""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
import zoneinfo
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import cpr
from cpr.errors import CprError
from tests.faults.untrusted_records import is_pythons_own, watched


def parquet_files(folder: Path) -> list[tuple[Path, range]]:
    """Files, and where in them what describes them is."""
    pytest.importorskip("pyarrow")
    frames = [
        pd.DataFrame({"a": np.arange(20), "b": list("abcdefghij") * 2}),
        pd.DataFrame(
            {"t": pd.date_range("2026", periods=9, tz="UTC"), "c": pd.Categorical(list("xyzxyzxyz"))}
        ),
        pd.DataFrame({"x": [1.5, None]}, index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    ]
    found = []
    for number, frame in enumerate(frames):
        path = folder / f"{number}.parquet"
        frame.to_parquet(path)
        data = path.read_bytes()
        length = int.from_bytes(data[-8:-4], "little")
        found.append((path, range(len(data) - 8 - length, len(data))))
    return found


def tiff_files(folder: Path) -> list[tuple[Path, range]]:
    pixels = np.arange(4 * 16 * 16, dtype="uint16").reshape(4, 16, 16)
    written = {
        "plain": {},
        "zlib": {"compression": "zlib", "predictor": True},
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "ome": {"ome": True, "metadata": {"axes": "TYX"}},
        "tiled": {"tile": (16, 16), "bigtiff": True},
    }
    found = []
    for name, options in written.items():
        path = folder / f"{name}{'.ome' if name == 'ome' else ''}.tif"
        tifffile.imwrite(path, pixels, photometric="minisblack", **options)
        found.append((path, range(path.stat().st_size)))
    return found


KINDS = {
    "parquet": (parquet_files, lambda path: cpr.ParquetSource.from_path(path).get_data()),
    "tiff": (tiff_files, lambda path: cpr.ImageSource.from_path(path).get_data()),
}


def count_outcomes(kind: str, folder: Path, seed: int, count: int, slow: float) -> dict[str, int]:
    """How many mutants were read and refused, and how many took longer than `slow` seconds of computing."""
    make, read = KINDS[kind]
    files = make(folder)
    for path, _ in files:
        read(path)
    with suppress(zoneinfo.ZoneInfoNotFoundError):
        zoneinfo.ZoneInfo("No/Such")  # which loads what looks for those that a machine has not itself
    chance = random.Random(seed)
    counts = {"read": 0, "refused": 0, "slow": 0}
    for number in range(count):
        path, where = files[number % len(files)]
        before = path.read_bytes()
        data = bytearray(before)
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            position = chance.choice(where)
            data[position] = chance.choice(
                (data[position] ^ 1 << chance.randrange(8), chance.randrange(256), 255)
            )
        path.write_bytes(data)
        begin = time.process_time()
        with watched() as events, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(path)
                counts["read"] += 1
            except CprError:
                counts["refused"] += 1
        counts["slow"] += time.process_time() - begin > slow
        strange = [event for event in events if not (is_pythons_own(*event) or is_ours(*event, folder))]
        assert strange == [], (strange, data.hex())
        path.write_bytes(before)
    return counts


def is_ours(event: str, arguments: tuple, folder: Path) -> bool:
    """Whether this is the file itself, or what its decoders load from the packages that they are in."""
    if event == "import" and arguments[0].split(".")[0] in (*sys.stdlib_module_names, "tzdata"):
        return True
    own = (
        os.path.dirname(os.__file__),
        "tzdata",
        "pytz/zoneinfo",
    )  # the time zones of a machine that has none itself
    if event != "import" and any(place in str(arguments) for place in own):
        return True
    # pyarrow asks for the traceback of what our file has raised, which shows lines of our text.
    if event == "open" and str(arguments[0]).startswith(os.path.dirname(cpr.__file__)):
        return str(arguments[0]).endswith(".py") and arguments[1] == "r"
    if event in ("open", "os.listdir", "glob.glob"):
        return str(arguments[0]).startswith((str(folder), "/proc/", "/sys/"))  # how much memory is free
    if event == "compile" and arguments[1] == "<unknown>":  # a line that is parsed, and not run
        return True
    if event in ("compile", "exec", "code.__new__"):  # how Cython says where it is, in a traceback
        return ".pyx" in str(arguments)
    return event == "import" and arguments[0].startswith(("imagecodecs.", "pandas.", "pyarrow.", "zoneinfo."))


@pytest.mark.own_process
@pytest.mark.parametrize("kind", KINDS)
def test_mutants_run_nothing_and_raise_typed_errors(kind, tmp_path):
    counts = count_outcomes(kind, tmp_path, seed=1, count=400, slow=10)
    assert min(counts["read"], counts["refused"]) > 20, counts
    assert counts["slow"] == 0


@pytest.mark.own_process
@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(1000, 1020))
@pytest.mark.parametrize("kind", KINDS)
def test_four_hundred_thousand_mutants(kind, seed, tmp_path):
    counts = count_outcomes(kind, tmp_path, seed, count=10_000, slow=10)
    print(f"{kind}, seed {seed}: {counts}")
    assert counts["read"] + counts["refused"] == 10_000
    assert counts["slow"] == 0
