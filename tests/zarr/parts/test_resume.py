"""A loop that was killed goes on where it was: what is there is checked and not computed again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import PartError
from cpr.zarr.parts import target_in_parts
from tests.zarr.parts.test_assembly_errors import put
from tests.zarr.parts.test_parts import DATA, at_once, base, whole_of

UNITS = 8
OPTIONS = {"chunks": (1, 16, 16), "levels": 2}

# What a task does, under the key that Prefect would give it: it tells of each region before it is computed.
LOOP = """
import sys, time
import numpy as np
import cpr
from cpr.provenance.running_task import tell_running_key

url, key, log = sys.argv[1:]
tell_running_key(lambda: key)
target = cpr.OMEZarrTarget.from_path(url, shape=(8, 32, 32), dtype="uint16", chunks=(1, 16, 16), levels=2)
for region in target.missing((1,)):
    with open(log, "a") as file:
        file.write(f"{region[0].start}\\n")
    target[region] = np.full((1, 32, 32), region[0].start + 1, "uint16")
print(target.persist().data_hash)
"""


@pytest.fixture
def keyed(monkeypatch):
    """Say under which key the test runs from now on."""

    def under(key):
        monkeypatch.setattr(target_in_parts, "running_key", lambda: key)

    return under


def fill(target, size=None, stop_after=None, data=DATA):
    """Write what is missing, or some of it; the regions that were."""
    done = []
    for region in target.missing(size)[:stop_after]:
        target[region] = data[region]
        done.append(region)
    return done


@pytest.mark.parametrize("cls", [cpr.ZarrTarget, cpr.OMEZarrTarget])
def test_the_same_run_goes_on(cls, keyed):
    where = base()
    keyed("a task and its inputs")
    killed = whole_of(cls, DATA, where, chunks=(1, 20, 20))
    assert len(fill(killed, (1,), 4)) == 4
    again = whole_of(cls, DATA, where, chunks=(1, 20, 20))
    assert [region[0].start for region in fill(again, (1,))] == [4, 5]
    assert again.persist().data_hash == at_once(cls, DATA, chunks=(1, 20, 20)).data_hash
    cpr.load(again.serialize()).verify()
    # When all is done but the assembly, nothing is to be done but that.
    keyed("another")
    fill(whole_of(cls, DATA, where, chunks=(1, 20, 20)), (1,))
    last = whole_of(cls, DATA, where, chunks=(1, 20, 20))
    assert last.missing((1,)) == []
    assert last.persist().data_hash == again.data_hash
    # What is published is written to no more: the same key begins anew.
    anew = whole_of(cls, DATA, where, chunks=(1, 20, 20))
    assert len(anew.missing((1,))) == 6


@pytest.mark.parametrize("algorithm", ["xxh3_128", "sha256"])
def test_what_no_record_vouches_for_is_not_adopted_where_forgers_are_feared(algorithm, keyed, monkeypatch):
    monkeypatch.setenv("CPR_CHECKSUM", algorithm)
    where = base()
    keyed("a task and its inputs")
    fill(whole_of(cpr.ZarrTarget, DATA, where, chunks=(1, 20, 20)), (1,), 4, data=DATA + 1)
    target = whole_of(cpr.ZarrTarget, DATA, where, chunks=(1, 20, 20))
    assert len(fill(target, (1,))) == (2 if algorithm == "xxh3_128" else 6)
    stored = cpr.load(target.serialize())
    assert np.array_equal(stored.get_data()[...], DATA) == (algorithm == "sha256")
    stored.verify()


@pytest.mark.parametrize("other", ["another key", None, "other chunks", "another name"])
def test_progress_of_others_is_never_adopted(other, keyed):
    where = base()
    keyed("a key")
    fill(whole_of(cpr.ZarrTarget, DATA, where, chunks=(1, 20, 20)), (1,), 4)
    keyed("a key" if other in ("other chunks", "another name") else other)
    chunks = (1, 20, 30) if other == "other chunks" else (1, 20, 20)
    place = f"{where}/elsewhere" if other == "another name" else where
    target = whole_of(cpr.ZarrTarget, DATA, place, chunks=chunks)
    assert len(fill(target, (1,))) == 6
    target.persist().verify()


def test_other_regions_than_before(keyed):
    where = base()
    keyed("a key")
    fill(whole_of(cpr.ZarrTarget, DATA, where, chunks=(1, 20, 20)), (1, 20), 4)
    again = whole_of(cpr.ZarrTarget, DATA, where, chunks=(1, 20, 20))
    regions = fill(again, (2,))
    assert sum(DATA[region].size for region in regions) == DATA.size - DATA[0].size - DATA[1, :20].size
    again.persist().verify()
    assert np.array_equal(again.get_data()[...], DATA)


@pytest.mark.parametrize("harm", ["flip", "gone", "digests", "metadata"])
def test_what_is_damaged_is_made_again(harm, keyed, tmp_path):
    keyed("a key")
    killed = whole_of(cpr.ZarrTarget, DATA, tmp_path, chunks=(1, 20, 20))
    fill(killed, (1,), 4)
    victim = killed._adopted[2]
    chunk = io.join(victim.url, "c/2/1/1")
    if harm == "gone":
        io.remove(chunk)
    elif harm == "metadata":
        io.remove(io.join(victim.url, "zarr.json"))
    else:
        url = chunk if harm == "flip" else victim.place
        with io.reading(url) as file:
            content = bytearray(file.read())
        content[len(content) // 2] ^= 1
        put(url, bytes(content))
    again = whole_of(cpr.ZarrTarget, DATA, tmp_path, chunks=(1, 20, 20))
    starts = [region[0].start for region in fill(again, (1,))]
    assert starts == ([2, 4, 5] if harm != "metadata" else list(range(6)))
    again.persist().verify()
    assert np.array_equal(again.get_data()[...], DATA)


def test_a_loop_that_is_not_complete_is_no_result(keyed):
    keyed("a key")
    target = whole_of(cpr.ZarrTarget, DATA, chunks=(1, 20, 20))
    fill(target, (1,), 5)
    with pytest.raises(PartError, match="gap"):
        target.persist()
    fill(target, (1,))
    target.persist().verify()


def test_outside_of_tasks_each_target_begins_anew():
    where = base()
    fill(whole_of(cpr.ZarrTarget, DATA, where, chunks=(1, 50, 70)), None, 4)
    again = whole_of(cpr.ZarrTarget, DATA, where, chunks=(1, 50, 70))
    assert len(fill(again)) == 6
    again.persist().verify()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.long)])
def test_kill_9_at_random_points(kills, tmp_path):
    """Each time it runs it dies once, after some lines of its log and a moment; then it runs to its end."""
    draw = random.Random(kills)
    computed, runs = 0, 0
    for number in range(kills):
        url, log = str(tmp_path / f"{number}/volume.ome.zarr"), tmp_path / f"{number}.log"
        arguments = [sys.executable, "-c", LOOP, url, "a key", str(log)]
        lines = draw.randrange(UNITS)
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        while process.poll() is None and (not log.exists() or len(log.read_text().split()) <= lines):
            time.sleep(0.001)
        time.sleep(draw.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        # One that had published it, and was killed before anybody was told, is no run that goes on.
        results = 1 + any(name.endswith(".blocks") for name in listed(tmp_path / f"{number}/.cpr"))
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        started = log.read_text().split()
        assert sorted(set(started), key=int) == [str(z) for z in range(UNITS)]
        if results == 1:
            computed, runs = computed + len(started), runs + 1
            assert len(started) <= UNITS + 1  # the one that was under way
        expected = cpr.OMEZarrTarget.from_path("memory://resume/volume.ome.zarr", **OPTIONS)
        expected.set_data(np.broadcast_to(np.arange(1, 9, dtype="uint16")[:, None, None], (8, 32, 32)))
        assert done.stdout.strip() == expected.data_hash
        io.remove_orphans(str(tmp_path / str(number)), timedelta(seconds=-60))
        found = [name for name in listed(tmp_path / str(number)) if name.endswith(".zarr")]
        assert len(found) == results
        # The digests of what was published, and nobody was told of, may be there still.
        beside = listed(tmp_path / f"{number}/.cpr")
        kept = [name for name in beside if results == 1 or not name.endswith(".digests")]
        assert kept == [f"{name}.blocks" for name in found]
    print(f"{runs} of {kills} killed in the midst: {computed} units computed for {runs * UNITS}")


def listed(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
