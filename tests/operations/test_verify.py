"""Every kind of damage is found, told apart from what cannot be looked at, and dropped by `heal`."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from cpr import io
from cpr.errors import TransferError
from cpr.io.block_digests import blocks_url
from cpr.operations.scan import find_records
from cpr.operations.verify import heal, verify
from tests.stored_flow import get, prefect_record, put, store


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def place(request, tmp_path):
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def flipped(url: str) -> None:
    blob = bytearray(get(url))
    blob[len(blob) // 2] ^= 1
    put(url, bytes(blob))


def chunk(target, name: str = "c/1/1") -> str:
    return f"{target.url}/{name}"


DAMAGE: dict[str, tuple[str, Callable, str]] = {
    "flipped": ("small", lambda t: flipped(t.url), "damaged"),
    "cut": ("image", lambda t: put(t.url, get(t.url)[:-1]), "damaged"),
    "extended": ("small", lambda t: put(t.url, get(t.url) + b"\0"), "damaged"),
    "empty": ("table", lambda t: put(t.url, b""), "damaged"),
    "deleted": ("image", lambda t: io.remove(t.url), "missing"),
    "large, flipped": ("large", lambda t: flipped(t.url), "damaged"),
    "large, cut": ("large", lambda t: put(t.url, get(t.url)[: 1 << 20]), "damaged"),
    "digests flipped": ("large", lambda t: flipped(blocks_url(t.url)), "damaged"),
    "digests deleted": ("large", lambda t: io.remove(blocks_url(t.url)), "damaged"),
    "chunk flipped": ("chunks", lambda t: flipped(chunk(t)), "damaged"),
    "chunk deleted": ("chunks", lambda t: io.remove(chunk(t)), "damaged"),
    "chunk swapped": ("chunks", lambda t: put(chunk(t), get(chunk(t, "c/0/1"))), "damaged"),
    "manifest flipped": ("chunks", lambda t: flipped(blocks_url(t.url)), "damaged"),
    "manifest deleted": ("chunks", lambda t: io.remove(blocks_url(t.url)), "missing"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_its_cache_entry_dropped(tmp_path, name):
    kind, damage, state = DAMAGE[name]
    done = store(str(tmp_path), (kind, "small") if kind != "small" else ("small", "table"))
    damage(done.targets[kind])
    report = verify(done.url)
    assert [(one.url, one.state) for one in report.wrong] == [(done.targets[kind].url, state)]
    assert report.targets == 2
    assert report.intact == 1
    assert heal(done.url, report) == [done.records[kind]]
    left = {record.url for record in find_records(done.url)}
    assert left == {done.flow, *done.records.values()} - {done.records[kind]}


def test_intact(place):
    done = store(place)
    report = verify(place)
    assert report.wrong == []
    assert (report.targets, report.checked, report.intact) == (5, 5, 5)
    assert (report.records, report.foreign) == (6, 0)
    assert report.nbytes == sum(target.nbytes for target in done.targets.values())
    assert heal(place, report) == []


def test_a_file_stored_again_otherwise_is_told_though_its_content_is_the_same(tmp_path):
    done = store(str(tmp_path), ("table",))
    put(done.targets["table"].url, get(done.targets["table"].url).replace(b"\n", b"\r\n"))
    assert [one.state for one in verify(done.url).wrong] == ["damaged"]
    assert done.targets["table"].get_data() is not None  # reading asks for the content


def test_what_was_mended_meanwhile_stays(tmp_path):
    done = store(str(tmp_path), ("small",))
    blob = get(done.targets["small"].url)
    flipped(done.targets["small"].url)
    report = verify(done.url)
    put(done.targets["small"].url, blob)
    assert heal(done.url, report) == []


def test_unreadable_records_are_damage_and_unknown_classes_are_not(tmp_path):
    done = store(str(tmp_path), ("small",))
    cut = put(f"{tmp_path}/records/cut", prefect_record({"__cpr__": {}})[:-10])
    text = get(done.records["small"]).decode()
    put(f"{tmp_path}/records/other", text.replace("NumpyTarget", "PlugInTarget").replace("small", "other"))
    report = verify(done.url)
    assert [(one.record, one.state) for one in report.damage] == [(cut, "unreadable record")]
    assert [one.state for one in report.unchecked] == ["not checked"]
    assert heal(done.url, report) == [cut]


def test_a_sample(tmp_path):
    store(str(tmp_path), ("small", "image", "table"))
    counts = {verify(str(tmp_path), sample=0.5, seed=seed).checked for seed in range(20)}
    assert len(counts) > 1
    assert max(counts) <= 3
    assert verify(str(tmp_path), sample=1.0).checked == 3


def test_an_outage_ends_it(tmp_path, monkeypatch):
    done = store(str(tmp_path), ("small",))
    for number in range(40):
        copy = (
            get(done.records["small"]).decode().replace('\\"name\\": \\"small', f'\\"name\\": \\"s{number}')
        )
        put(f"{tmp_path}/records/{number}", copy)

    def refuse(*_):
        raise TransferError("the store could not read the object")

    monkeypatch.setattr("cpr.io.read_through", refuse)
    with pytest.raises(TransferError):
        verify(str(tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="/proc")
@pytest.mark.real_s3
@pytest.mark.slow
def test_memory_does_not_grow_with_targets(s3_url):
    import subprocess
    import sys

    import bench.verifying as bench

    bench.fill(s3_url, 200, 1024)
    code = (
        "import sys\nfrom cpr.operations.verify import verify\n"
        "report = verify(sys.argv[1]); assert report.intact == 200, report\n"
        # Not ru_maxrss, which begins with that of the process that started this one.
        "print(int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, s3_url],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ.copy(),
    )
    assert int(run.stdout) < 300  # MiB, imports and all
