"""Workers of other versions and settings write the same content, and leave each other's results alone."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from dataclasses import dataclass

import numpy as np
import pytest

import cpr
import cpr.image.tiff
from cpr import io
from cpr.operations.verify import heal, verify
from cpr.records.registry import register
from cpr.Target import Target
from tests.text_format import Text

ALGORITHMS = ["xxh3_128", "sha256", "blake3"]
# Of zlib, which a version of cpr may choose for itself; the record of neither tells.
LEVELS = [1, 6]
MIB = 1 << 20


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_url')}/{uuid.uuid4().hex}"
    return str(tmp_path)


@pytest.fixture
def worker(monkeypatch, base):
    """worker(data, algorithm, level): what one worker's target is once it is stored."""
    levels = cpr.image.tiff._LEVELS

    def run(data, algorithm="xxh3_128", level=1):
        monkeypatch.setenv("CPR_CHECKSUM", algorithm)
        monkeypatch.setitem(levels, "zlib", (level, range(10)))
        target = cpr.ImageTarget.from_path(f"{base}/a.tif")
        target.set_data(data)
        return target.persist()

    return run


def pixels(nbytes: int) -> np.ndarray:
    """Random ones, whose file is about as large."""
    return np.random.default_rng(0).integers(0, 256, (2, nbytes // 512, 256)).astype("uint8")


def require_intact(record, data) -> None:
    target = cpr.load(record)
    target.check()
    target.check(full=True)
    assert np.array_equal(target.get_data(), data)
    assert np.array_equal(target.get_data(region=np.s_[1, 3:5]), data[1, 3:5])


@pytest.mark.parametrize("nbytes", [MIB - 8192, MIB, 2 * MIB], ids=["below", "at", "above"])
def test_whatever_was_stored_stays_intact(base, worker, nbytes):
    algorithms = ALGORITHMS
    if not _has_blake3():
        algorithms = ALGORITHMS[:2]
    data = pixels(nbytes)
    settings = list(itertools.product(algorithms, LEVELS))
    records = [worker(data, *setting).serialize() for setting in settings]
    again = [worker(data, *setting).serialize() for setting in reversed(settings)]
    for record in records + again:
        require_intact(record, data)
    urls = [cpr.load(record).url for record in records]
    assert urls == [cpr.load(record).url for record in reversed(again)]  # it meets its own
    assert len({(url.rpartition("/")[2]) for url in urls}) == len(settings)

    for index, record in enumerate(records):
        text = {"metadata": {"serializer": {"type": "cpr"}}, "result": json.dumps(record)}
        with io.writing(f"{base}/records/{index}") as file:
            file.write(json.dumps(text).encode())
    report = verify(f"{base}/records")
    assert (report.intact, report.wrong) == (len(records), [])
    assert heal(f"{base}/records", report) == []


def _has_blake3() -> bool:
    try:
        import blake3  # noqa: F401
    except ImportError:
        return False
    return True


version = threading.local()


@dataclass(frozen=True)
class Padded(Text):
    """Texts that each version of an encoder ends in its own way."""

    def encode(self, data, file) -> None:
        file.write(data.encode() + b"\n" * version.number)

    def decode(self, file) -> str:
        return super().decode(file).rstrip("\n")


@register
class PaddedTarget(Target):
    format_class = Padded


@pytest.mark.parametrize("nbytes", [100_000, 2 * MIB])
def test_writers_who_begin_together_leave_each_other_alone(base, nbytes):
    """No moment between looking and writing in which one replaces what another has just stored."""
    text = "x" * nbytes
    begin = threading.Barrier(6)
    targets = [PaddedTarget.from_path(f"{base}/a.txt") for _ in range(begin.parties)]

    def persist(number: int) -> None:
        version.number = number % 3
        targets[number].set_data(text)
        begin.wait()
        targets[number].persist()

    threads = [threading.Thread(target=persist, args=(number,)) for number in range(begin.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({target.url for target in targets}) == 3
    for target in targets:
        target.check(full=True)
        assert target.get_data() == text
        if target.blocks is not None:
            with io.verified(target.url, target.nbytes, target.blocks) as parts:
                parts.check_digests()
