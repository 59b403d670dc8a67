"""What every kind of target promises, whatever goes wrong: all or nothing, and never wrong data."""

from __future__ import annotations

import json
import os
import subprocess
import uuid

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, CprError, NoDataError, ResourceNotFoundError, TransferError
from tests.target_cases import PLANES, TARGET_CASES, TargetCase

target_cases = pytest.mark.parametrize("kind", TARGET_CASES, ids=lambda kind: kind.name)


@pytest.fixture(
    params=[
        *("memory", "local"),
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("gs", marks=pytest.mark.gcs),
        pytest.param("az", marks=pytest.mark.azure),
    ]
)
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue(f"{request.param}_url")


def left_behind(base: str) -> list[str]:
    if base.startswith("/"):
        return [os.path.join(folder, name) for folder, _, names in os.walk(base) for name in names]
    return list(io.find(f"{base}/**"))


@target_cases
def test_comes_back_as_it_was_set(kind: TargetCase, base):
    target = kind.target(base)
    target.set_data(kind.data())
    record = json.dumps(target.serialize())
    again = cpr.load(record)
    assert kind.equal(again.get_data(), kind.data())
    assert again.identity() == target.identity()
    if not isinstance(kind.data(), np.ndarray):
        return
    assert len(record) < 1000


@target_cases
def test_a_stream_is_the_same_as_the_whole(kind: TargetCase, base):
    streamed = kind.target(base)
    streamed.set_data(kind.pieces(), **kind.announce)
    assert streamed.checksum is not None
    again = cpr.load(streamed.serialize())
    whole = kind.target(base)
    whole.set_data(again.get_data())
    assert whole.data_hash == streamed.data_hash
    assert whole.identity() == streamed.identity()


@target_cases
@pytest.mark.real_s3
def test_an_iterator_that_raises_leaves_nothing(kind: TargetCase, s3_url, open_uploads):
    for position in range(PLANES):
        with pytest.raises(OSError, match=f"microscope went away at piece {position}$"):
            kind.target(s3_url).set_data(kind.pieces(fail_at=position), **kind.announce)
    assert left_behind(s3_url) == []
    assert open_uploads() == []


@target_cases
@pytest.mark.real_s3
def test_an_encoder_that_raises_leaves_nothing(kind: TargetCase, s3_url, open_uploads, monkeypatch):
    """The encoder fails at 64 byte positions spread over the file."""
    from cpr.io.publishing import WritingFile

    probe = kind.target(s3_url)
    probe.set_data(kind.data())
    probe.persist()
    size = probe.nbytes
    io.remove(probe.url)
    for ending in (".blocks", ".preview.png", ".preview.json"):
        io.remove(io.sidecar_url(probe.url, ending))
    write = WritingFile.write
    for position in range(64):
        limit = size * position // 64

        def failing(self, data, limit=limit):
            if self.stored.nbytes + memoryview(data).nbytes > limit:
                raise MemoryError("the encoder failed")
            return write(self, data)

        monkeypatch.setattr(WritingFile, "write", failing)
        target = kind.target(s3_url)
        target.set_data(kind.data())
        with pytest.raises(MemoryError):
            target.persist()
        # The data is not lost: the target can be persisted when the trouble is over.
        assert target.get_data() is not None
    monkeypatch.setattr(WritingFile, "write", write)
    assert left_behind(s3_url) == []
    assert open_uploads() == []
    target.persist()
    assert kind.equal(cpr.load(target.serialize()).get_data(), kind.data())


@target_cases
def test_data_changed_before_the_write_is_caught(kind: TargetCase, base):
    target = kind.target(base)
    data = kind.data()
    target.set_data(data)
    if isinstance(data, np.ndarray):
        data[-1, -1, -1] += 1
    else:
        data.iloc[-1, data.columns.get_loc("area")] += 1
    with pytest.raises(CorruptDataError, match="changed between set_data and the write"):
        target.persist()
    assert left_behind(base) == []


@target_cases
def test_equal_data_meets_at_one_object(kind: TargetCase, base):
    first, second = kind.target(base), kind.target(base)
    first.set_data(kind.data())
    second.set_data(kind.data())
    assert first.persist().url == second.url
    version = io.stat(first.url).version
    second.persist()
    assert second.checksum == first.checksum
    assert io.stat(first.url).version == version


@target_cases
def test_errors_of_bad_paths_are_typed(kind: TargetCase):
    with pytest.raises(CprError) as caught:
        kind.cls().from_path("memory://x/result.exe", **kind.options)
    assert caught.value.remedy


@target_cases
@pytest.mark.s3
def test_a_bucket_that_does_not_exist_is_named_and_not_made(kind: TargetCase, s3_server):
    bucket = f"missing-{uuid.uuid4().hex}"
    target = kind.target(f"s3://{bucket}")
    target.set_data(kind.data())
    with pytest.raises(ResourceNotFoundError, match="no such bucket") as caught:
        target.persist()
    assert caught.value.url == target.url
    with pytest.raises(ResourceNotFoundError, match="no such bucket"):
        kind.target(f"s3://{bucket}").set_data(kind.pieces(), **kind.announce)
    assert bucket not in {found["Name"] for found in s3_server.client().list_buckets()["Buckets"]}
    # Nothing is lost: the data is still there.
    assert kind.equal(target.get_data(), kind.data())


@target_cases
def test_full_and_read_only_disks_are_named(kind: TargetCase, small_disk):
    folder = small_disk("16k")
    target = kind.target(folder)
    target.set_data(kind.data())
    with pytest.raises(TransferError, match="the disk is full"):
        target.persist()
    assert left_behind(folder) == []
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    with pytest.raises(TransferError, match="read-only"):
        target.persist()
    assert kind.equal(target.get_data(), kind.data())


@target_cases
def test_what_is_not_there_is_named(kind: TargetCase, tmp_path):
    target = kind.target(str(tmp_path))
    with pytest.raises(NoDataError, match="set_data"):
        target.get_data()
    with pytest.raises(NoDataError, match="set_data"):
        target.serialize()
    target.set_data(kind.data())
    record = target.serialize()
    os.remove(target.url)
    with pytest.raises(ResourceNotFoundError) as caught:
        cpr.load(record).get_data()
    assert caught.value.url == target.url
    with pytest.raises(TransferError, match="no such protocol"):
        kind.target("nonsense://bucket")
