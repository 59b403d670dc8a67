"""Writers that are killed never leave a result that can be read and is wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

import cpr
from cpr import io

pytestmark = pytest.mark.slow

# Kills itself at the n-th request, before it or after it: every state that a store can be left in.
WRITER = """
import json, os, signal, sys
import numpy as np
import zarr.storage
import cpr
import cpr.zarr.ZarrTarget as module

base, at, after = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after"
count = 0

def counting(function):
    async def counted(*args, **kwargs):
        global count
        count += 1
        mine = count
        if mine == at and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await function(*args, **kwargs)
        if mine == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return counted

from cpr.zarr.fast import FastStore

for store in (zarr.storage.LocalStore, zarr.storage.FsspecStore, FastStore):
    store.set = counting(store.set)
data = np.arange(1, 1 + 8 * 40 * 40, dtype="uint16").reshape(8, 40, 40)
target = cpr.ZarrTarget.from_path(f"{base}/cells.zarr", chunks=(1, 20, 20))
target.set_data(data)
# What a record would say, known before the manifest is there: a reader may hold it.
manifest = target._manifest
fields = {"type": "ZarrTarget", "location": target.location, "name": "cells",
    "ext": ".zarr", "key": target.key, "data_hash": target.data_hash, "checksum": manifest.checksum,
    "manifest": manifest.nbytes,     "nbytes": manifest.total + manifest.nbytes}
with open(sys.argv[4], "w") as file:
    json.dump({"__cpr__": fields}, file)
if count + 1 == at and not after:
    os.kill(os.getpid(), signal.SIGKILL)
target.persist()
if count + 1 <= at:
    os.kill(os.getpid(), signal.SIGKILL)
"""

DATA = np.arange(1, 1 + 8 * 40 * 40, dtype="uint16").reshape(8, 40, 40)
REQUESTS = 1 + 8 * 4 + 1  # metadata, chunks, and the manifest


@pytest.mark.parametrize("place", ["local", pytest.param("s3", marks=pytest.mark.s3)])
def test_a_killed_writer_leaves_no_readable_target(place, tmp_path, request):
    base = str(tmp_path / "out") if place == "local" else request.getfixturevalue("s3_url")
    draw = random.Random(7)
    cases = [(REQUESTS, "before"), (REQUESTS, "after"), (1, "before"), (REQUESTS - 1, "after")]
    cases += [(draw.randint(1, REQUESTS), draw.choice(["before", "after"])) for _ in range(21)]
    published = 0
    for number, (at, when) in enumerate(cases):
        record = tmp_path / f"{number}.json"
        command = [sys.executable, "-c", WRITER, f"{base}/{number}", str(at), when, str(record)]
        killed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert killed.returncode == -9, killed.stderr
        manifests = list(io.find(f"{base}/{number}/.cpr/*"))
        if not record.exists():
            assert manifests == []
            continue
        target = cpr.load(json.loads(record.read_text()))
        if manifests:
            # Killed after the last request: then it is whole.
            assert (at, when) == (REQUESTS, "after")
            assert np.array_equal(target.get_data()[...], DATA)
            assert target.verify() == REQUESTS - 1
            published += 1
        else:
            for ask in (target.check, target.get_data, target.verify):
                with pytest.raises(cpr.ResourceNotFoundError):
                    ask()
    assert published >= 1
    assert len(cases) == 25
    if place == "local":
        assert os.listdir(base)
