"""Small files that claim, or expand to, more than there is memory for: a typed error, and little taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import cpr
from cpr.data.memory import Expansion, available, require_memory
from cpr.errors import ConfigurationError, DecodeError
from tests.faults.decompression_bombs import BOMBS, ROOM

# These are found out while they expand: what they hold cannot be told from what they look like.
EXPANDING = {
    "csv_of_endless_rows",
    "csv_target_of_endless_rows",
    "csv_of_endless_columns",
    "csv_of_one_endless_row",
    "zarr_with_10_gigabytes_in_a_chunk_of_ten",
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """What came of each bomb."""
    if not os.path.exists("/proc/self/clear_refs"):
        pytest.skip("memory is measured by Linux's means")
    folder = tmp_path_factory.mktemp("bombs")
    command = [sys.executable, "-m", "tests.faults.decompression_bombs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["name"] for one in found] == list(BOMBS), done.stderr[-3000:]
    return {one["name"]: one for one in found}


@pytest.mark.slow
@pytest.mark.xdist_group("bombs")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(ends, name):
    end = ends[name]
    print(f"{name}: {end['error']}, {end['bytes'] >> 20} MiB, {end['seconds']:.1f} s: {end.get('text')}")
    assert end["error"] in {"DecodeError", "CorruptDataError", "RecordError"}, end
    assert end["remedy"]
    # What grows until there is no more may grow into what Arrow's pool has reserved before.
    assert end["bytes"] < (ROOM + (256 << 20) if name in EXPANDING else 128 << 20), end


def test_what_is_free_is_told():
    assert 1 << 20 < available() < 1 << 50
    require_memory(available() // 2, "half of it")
    with pytest.raises(DecodeError, match="CPR_MEMORY"):
        require_memory(1 << 60, "the pixels")


def test_a_limit_of_ones_own(monkeypatch, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(100 << 20, "u1"))
    assert cpr.NumpySource.from_path(path).get_data().nbytes == 100 << 20
    monkeypatch.setenv("CPR_MEMORY", "99 MiB")
    with pytest.raises(DecodeError, match="more memory") as caught:
        cpr.NumpySource.from_path(path).get_data()
    assert caught.value.url == str(path)
    assert cpr.NumpySource.from_path(path).get_data(region=np.s_[:1000]).nbytes == 1000
    monkeypatch.setenv("CPR_MEMORY", "1g")
    assert cpr.NumpySource.from_path(path).get_data().nbytes == 100 << 20
    monkeypatch.setenv("CPR_MEMORY", "much")
    with pytest.raises(ConfigurationError, match="CPR_MEMORY"):
        available()


def test_what_expands_is_stopped_while_it_does(monkeypatch):
    monkeypatch.setenv("CPR_MEMORY", str(100 << 20))
    table = Expansion("the table")
    with pytest.raises(DecodeError, match="the table"):
        for _ in range(200):
            table.grown(1 << 20)
    Expansion("the table").grown(90 << 20)
