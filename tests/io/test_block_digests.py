"""Parts of an object are checked by the digests of their blocks, whatever the rest is like."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpr import io
from cpr.errors import CorruptDataError
from cpr.io.block_digests import BLOCK_BYTES, SMALL_BYTES, BlockDigests, blocks_url
from cpr.io.stores.base import OccupiedError


def write(url: str, data: bytes):
    with io.writing(url) as file:
        file.write(data)
    return file.stored


@pytest.fixture
def url():
    return f"memory://{uuid.uuid4().hex}/a.bin"


@pytest.mark.parametrize("size", [SMALL_BYTES + 1, 5 * BLOCK_BYTES, 40 * BLOCK_BYTES + 7])
def test_every_part_is_what_was_written(url, size):
    data = os.urandom(size)
    stored = write(url, data)
    with io.verified(url, stored.nbytes, stored.blocks) as file:
        random = np.random.default_rng(0)
        for start, count in zip(random.integers(0, size, 50), random.integers(1, size, 50), strict=True):
            file.seek(start)
            assert file.read(count) == data[start : start + count]
        file.seek(0)
        assert file.read() == data


def test_small_objects_have_nothing_beside_them(url):
    assert write(url, bytes(SMALL_BYTES)).blocks is None
    assert list(io.find(f"{io.split(url)[0]}/**")) == [url]


def test_results_are_found_without_what_is_beside_them(url):
    write(url, bytes(SMALL_BYTES + 1))
    assert list(io.find(f"{io.split(url)[0]}/*")) == [url]
    assert len(io.find(f"{io.split(url)[0]}/.cpr/*")) == 1


def test_a_flipped_byte_is_noticed_in_its_block_only(url):
    data = bytearray(os.urandom(12 * BLOCK_BYTES))
    stored = write(url, bytes(data))
    blocks = io.reading(blocks_url(url)).__enter__().read()
    for bad in range(12):
        flipped = bytearray(data)
        flipped[bad * BLOCK_BYTES + 77] ^= 1
        write(url, bytes(flipped))
        write(blocks_url(url), blocks)
        with io.verified(url, stored.nbytes, stored.blocks) as file:
            for block in range(12):
                file.seek(block * BLOCK_BYTES)
                if block == bad:
                    with pytest.raises(CorruptDataError) as caught:
                        file.read(10)
                    assert caught.value.url == url
                else:
                    assert file.read(10) == data[block * BLOCK_BYTES :][:10]


@pytest.mark.parametrize("cut", [0, 1, BLOCK_BYTES, 5 * BLOCK_BYTES, 12 * BLOCK_BYTES - 1])
def test_a_cut_object_is_noticed(url, cut):
    data = os.urandom(12 * BLOCK_BYTES)
    stored = write(url, data)
    beside = io.reading(blocks_url(url)).__enter__().read()
    write(url, data[:cut])
    write(blocks_url(url), beside)
    with io.verified(url, stored.nbytes, stored.blocks) as file, pytest.raises(CorruptDataError):
        file.read()


def test_digests_that_are_gone_or_damaged_are_not_believed(url):
    stored = write(url, os.urandom(3_000_000))
    beside = bytearray(io.reading(blocks_url(url)).__enter__().read())
    for position in range(len(beside)):
        bad = bytearray(beside)
        bad[position] ^= 1
        write(blocks_url(url), bytes(bad))
        with io.verified(url, stored.nbytes, stored.blocks) as file:
            assert file is None
    io.remove(blocks_url(url))
    with io.verified(url, stored.nbytes, stored.blocks) as file:
        assert file is None


def require_digests(url: str, stored) -> None:
    with io.verified(url, stored.nbytes, stored.blocks) as file:
        assert file is not None, "what vouches for its parts is gone"
        file.check_digests()


@pytest.mark.parametrize("algorithm", ["xxh3_128", "sha256"])
def test_who_is_too_late_leaves_the_digests_of_the_first(algorithm, tmp_path):
    """By whichever algorithm the object of that name has them, and not by that of this process."""
    url, data = f"{tmp_path}/a.bin", os.urandom(3 << 20)
    with pytest.raises(OccupiedError), io.writing(url, algorithm, create=True) as late:
        late.write(data[::-1])
        with io.writing(url, algorithm) as first:
            first.write(data)
    require_digests(url, first.stored)


@pytest.mark.parametrize("algorithm", ["xxh3_128", "sha256"])
@pytest.mark.parametrize("harm", ["gone", "cut", "flipped", "of another object"])
def test_a_copy_that_was_there_has_its_digests(harm, algorithm, tmp_path):
    """Another program may have copied the object alone: cpr verify shall not call it damaged."""
    source, copied, data = f"{tmp_path}/from/a.bin", f"{tmp_path}/to/a.bin", os.urandom(3 << 20)
    with io.writing(source, algorithm) as file:
        file.write(data)
    assert io.copy(source, copied, file.stored)
    require_digests(copied, file.stored)
    beside = Path(blocks_url(copied))
    good = beside.read_bytes()
    if harm == "gone":
        beside.unlink()
    else:
        bad = {
            "cut": good[:-1],
            "flipped": good[:-1] + bytes([good[-1] ^ 1]),
            "of another object": good[::-1],
        }
        beside.write_bytes(bad[harm])
    assert not io.copy(source, copied, file.stored)
    require_digests(copied, file.stored)


@given(st.lists(st.integers(0, 3 * BLOCK_BYTES), max_size=12))
def test_digests_do_not_depend_on_how_the_stream_was_cut(cuts):
    data = np.random.default_rng(1).bytes(9 * BLOCK_BYTES + 100)
    whole, pieces = BlockDigests("xxh3_128"), BlockDigests("xxh3_128")
    whole.update(memoryview(data))
    position = 0
    for cut in cuts:
        pieces.update(memoryview(data)[position : position + cut])
        position = min(position + cut, len(data))
    pieces.update(memoryview(data)[position:])
    assert whole.finish() == pieces.finish()


def test_many_pages_of_digests(url, monkeypatch):
    from cpr.io import block_digests as blocks

    monkeypatch.setattr(blocks, "_PAGE", 5)
    data = os.urandom(33 * BLOCK_BYTES + 3)
    stored = write(url, data)
    with io.verified(url, stored.nbytes, stored.blocks) as file:
        for start in (0, 32 * BLOCK_BYTES, 11 * BLOCK_BYTES + 5):
            file.seek(start)
            assert file.read(BLOCK_BYTES) == data[start : start + BLOCK_BYTES]
    beside = bytearray(io.reading(blocks_url(url)).__enter__().read())
    beside[20 * 16] ^= 1
    write(blocks_url(url), bytes(beside))
    with io.verified(url, stored.nbytes, stored.blocks) as file:
        assert file.read(10) == data[:10]
        file.seek(20 * BLOCK_BYTES)
        with pytest.raises(CorruptDataError, match="blocks"):
            file.read(10)
