"""Parts that are sent from the memory of an array: not copied, and never other bytes than were hashed."""

from __future__ import annotations

import io as streams
import os
import random

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.data.arrays import Planes
from cpr.errors import CorruptDataError
from cpr.io.clients import s3_retries, s3fs
from cpr.io.clients.s3_body import Body, LentBody
from cpr.io.stores import s3_upload
from cpr.io.stores.s3_upload import S3Upload
from tests.faults.conftest import proxy, running_proxy  # noqa: F401 - fixtures

MIB = 1 << 20
TARGETS = {
    "npy": lambda url: cpr.NumpyTarget.from_path(f"{url}/a.npy"),
    "tiff": lambda url: cpr.ImageTarget.from_path(f"{url}/a.tif", compression=None),
}


def array() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, (40, 512, 512), dtype="uint16")  # 20 MiB


@pytest.fixture
def sent(monkeypatch) -> list[Body]:
    """The parts that leave."""
    bodies: list[Body] = []
    send = s3fs.S3Client.send

    async def seen(self, method, body, *args, **kwargs):
        if method == "upload_part":
            bodies.append(body)
        return await send(self, method, body, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3Client, "send", seen)
    return bodies


@pytest.mark.parametrize("seed", range(20))
def test_pieces_are_read_as_one_file_is(seed):
    dice = random.Random(seed)
    body, whole = LentBody(), streams.BytesIO()
    for _ in range(dice.randrange(6)):
        block = dice.randbytes(dice.randrange(200))
        body.write(block) if dice.random() < 0.5 else body.lend(memoryview(block))
        whole.write(block)
    content = whole.getvalue()
    body.end()
    assert len(body.getbuffer()) == body.collected == len(content)
    assert body.own_bytes <= len(content)
    for _ in range(30):
        start, size = dice.randrange(len(content) + 1), dice.randrange(-1, 300)
        assert body.seek(start) == start == body.tell()
        found = body.read(size)
        assert found == content[start : start + len(found)]
        # As much as is asked for, or up to the end of a piece; nothing only at the end.
        assert (
            len(found) == len(content) - start if size < 0 else bool(found) == bool(content[start:] and size)
        )
    assert body.seek(0, os.SEEK_END) == len(content)
    assert body.seek(-len(content), os.SEEK_CUR) == 0
    body.seek(0)
    assert b"".join(iter(lambda: body.read(7), b"")) == content == body.getvalue()


@pytest.mark.real_s3
@pytest.mark.parametrize("kind", TARGETS)
def test_parts_of_an_array_are_not_copied(kind, s3_url, sent):
    data = array()
    target = TARGETS[kind](s3_url)
    target.set_data(data)
    record = target.serialize()
    assert np.array_equal(cpr.load(record).get_data(), data)
    # The first part waits for the store to say that it compares what arrives.
    first, *lent = sent
    assert not isinstance(first, LentBody)
    assert len(lent) >= 2 and all(isinstance(body, LentBody) for body in lent)
    assert sum(body.own_bytes for body in lent) < 64 << 10


@pytest.mark.real_s3
@pytest.mark.parametrize(
    "kind", ["a stream", "small planes", "another byte order", "every other", "no checksum"]
)
def test_what_does_not_last_or_is_not_compared_is_copied(kind, s3_url, sent, monkeypatch):
    data = array()
    target = TARGETS["npy"](s3_url)
    if kind == "a stream":
        target.set_data(iter(data), shape=data.shape, dtype=data.dtype)
    elif kind == "no checksum":
        monkeypatch.setattr(s3fs, "can_compute", lambda: False)
        target.set_data(data)
    else:
        data = {
            "small planes": data.reshape(-1, 64, 64),
            "another byte order": data.astype(">u2"),
            "every other": np.repeat(data, 2, axis=2)[:, :, ::2],
        }[kind]
        target.set_data(data)
    record = target.serialize()
    assert np.array_equal(cpr.load(record).get_data(), data)
    assert len(sent) >= 3
    assert not any(isinstance(body, LentBody) for body in sent)


@pytest.mark.real_s3
@pytest.mark.parametrize("kind", TARGETS)
def test_an_array_that_changes_before_it_is_sent_is_never_published(kind, s3_url, open_uploads, monkeypatch):
    monkeypatch.setattr(s3_retries, "_FIRST_WAIT_SECONDS", 0.01)
    data = array()
    target = TARGETS[kind](s3_url)
    target.set_data(data)
    send = S3Upload._send
    changed = []

    def change(self):
        # What was collected for this part has been hashed.
        if isinstance(self._part, LentBody) and not changed:
            changed.append(self._part)
            data[...] ^= 1
        send(self)

    monkeypatch.setattr(S3Upload, "_send", change)
    with pytest.raises(CorruptDataError, match="changed between") as caught:
        target.persist()
    assert changed and caught.value.remedy == "give the target its own copy: set_data(array.copy())"
    assert io.lookup(target.url) is None
    assert open_uploads() == []
    monkeypatch.setattr(S3Upload, "_send", send)
    target.set_data(data.copy())
    assert np.array_equal(cpr.load(target.serialize()).get_data(), data)


@pytest.mark.real_s3
def test_parts_that_are_refused_once_are_sent_again_from_their_beginning(proxy, s3_url, sent):  # noqa: F811
    failed = []

    def plan(_number: int, kind: str) -> str | None:
        if kind == "part" and len(failed) < 2:
            failed.append(kind)
            return "503"
        return None

    proxy.plan(plan)
    data = array()
    target = TARGETS["npy"](s3_url)
    target.set_data(data)
    assert np.array_equal(cpr.load(target.serialize()).get_data(), data)
    assert len(failed) == 2


def test_only_what_passes_is_told_to_last():
    data = array()
    planes = Planes(data)
    for number, piece in enumerate(planes.pieces()):
        lasting = planes.lasting(piece.cast("B"))
        assert lasting is not None and lasting == piece
        assert np.shares_memory(np.frombuffer(lasting, np.uint8), data)
        assert planes.lasting(memoryview(bytes(piece))) is None
        if number == 3:
            break
    list(planes.pieces())
    assert planes.lasting(piece) is None
    assert all(
        planes.lasting(piece) is None for planes in [Planes(data[:, ::2])] for piece in planes.pieces()
    )


def test_memory_that_is_lent_does_not_count(monkeypatch):
    """As many parts of an array are under way as the place deserves, whatever memory there is."""
    upload = S3Upload.__new__(S3Upload)
    upload._width = type("Width", (), {"requests": 64, "memory_bytes": 10 * MIB})()
    upload._sending = []
    lent = LentBody()
    lent.lend(memoryview(bytes(5 * MIB)))
    for _ in range(60):
        assert upload._has_room(lent.own_bytes)
        upload._sending.append((s3_upload.Future(), lent, lent.own_bytes))
    assert upload._has_room(10 * MIB)
    assert not upload._has_room(10 * MIB + 1)
