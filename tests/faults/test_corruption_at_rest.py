"""Damage at rest: found, or of bytes that mean nothing; in parts as in wholes; and never without cause."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, CprError
from cpr.io.block_digests import _TAIL_BYTES as END_BYTES
from cpr.io.block_digests import BLOCK_BYTES, blocks_url
from tests.faults.proxy import FaultProxy
from tests.target_cases import TARGET_CASES, TargetCase

MiB = 1 << 20
DAMAGES = 500
CLEAN_READS = 1000
ARRAYS = [kind for kind in TARGET_CASES if "shape" in kind.announce]

kinds = pytest.mark.parametrize("kind", TARGET_CASES, ids=lambda kind: kind.name)
arrays = pytest.mark.parametrize("kind", ARRAYS, ids=lambda kind: kind.name)


def stored_bytes(url: str) -> bytes:
    with io.reading(url) as file:
        return file.read()


def put(url: str, data: bytes) -> None:
    """As any other program would: no digests beside it."""
    from cpr.io.objects import open_store

    store, path = open_store(url)
    upload = store.upload(path)
    upload.write(memoryview(data))
    upload.commit()


def small(kind: TargetCase, seed: int = 0) -> Any:
    """Little data, so that a damage is likely to hit anything there is in a file."""
    if "shape" in kind.announce:
        return np.random.default_rng(seed).integers(0, 3000, (3, 24, 40), np.uint16)
    return kind.piece(seed)[:40].reset_index(drop=True)


def persisted(kind: TargetCase, data: Any, base: str | None = None) -> Any:
    target = kind.target(base or f"memory://{uuid.uuid4().hex}")
    target.set_data(data)
    return target.persist()


def damages(good: bytes, other: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` ways in which a stored object may have changed, none of them twice."""
    dice, seen = np.random.default_rng(seed), {good}
    sorts = ("flip", "flip", "flip", "flips", "byte", "cut", "append", "swap", "blank", "exchange", "drop")
    while len(seen) <= count:
        sort = sorts[dice.integers(len(sorts))]
        bad = bytearray(good)
        a, b = sorted(dice.integers(0, len(good) + 1, 2).tolist())
        at = int(dice.integers(len(good)))
        if sort == "flip":
            bad[at] ^= 1 << int(dice.integers(8))
        elif sort == "flips":
            for position in dice.integers(0, len(good), 5):
                bad[position] ^= 1 << int(dice.integers(8))
        elif sort == "byte":
            bad[at] = int(dice.integers(256))
        elif sort == "cut":
            del bad[at:]
        elif sort == "append":
            bad += dice.bytes(int(dice.integers(1, 100)))
        elif sort == "swap":
            bad[a:b] = other[a:b]
        elif sort == "blank":
            bad[a:b] = bytes(b - a)
        elif sort == "exchange":
            width = min(b - a, len(good) - b)
            bad[a : a + width], bad[b : b + width] = good[b : b + width], good[a : a + width]
        else:
            del bad[a:b]
        if bytes(bad) not in seen:
            seen.add(bytes(bad))
            yield f"{sort} at {at}, {a} to {b}", bytes(bad)


@pytest.fixture(
    params=[
        *("memory", "local"),
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("gs", marks=pytest.mark.gcs),
    ]
)
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue(f"{request.param}_url")


def named_damages(good: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    """Each sort of damage once, or some times."""
    random = np.random.default_rng(len(good))
    for position in random.integers(0, len(good), 40):
        flipped = bytearray(good)
        flipped[position] ^= 1 << random.integers(0, 8)
        yield f"bit flipped at byte {position}", bytes(flipped)
    for position in {0, 1, len(good) // 2, len(good) - 1, *random.integers(0, len(good), 10).tolist()}:
        yield f"cut to {position} bytes", good[:position]
    yield "a byte appended", good + b"\0"
    yield "a line appended", good + b"1,2,3,4\n"
    yield "itself appended", good + good
    yield "swapped with another result", other
    yield "blanked", bytes(len(good))
    if good.count(b"\n") > 1:
        yield "cut at a row boundary", good[: good.rindex(b"\n", 0, len(good) - 1) + 1]


@kinds
def test_every_damage_is_caught(kind: TargetCase, base):
    target = kind.target(base)
    target.set_data(kind.data())
    record = target.serialize()
    with io.reading(target.url) as file:
        good = file.read()
    other = kind.target(base)
    other.set_data(kind.data()[::-1].copy())
    with io.reading(other.persist().url) as file:
        swapped = file.read()
    if base.startswith(("s3", "gs")):
        chosen = [d for i, d in enumerate(named_damages(good, swapped)) if i % 5 == 0]
    else:
        chosen = list(named_damages(good, swapped))
    for name, bad in chosen:
        with io.writing(target.url) as file:
            file.write(bad)
        try:
            found = cpr.load(record).get_data()
        except CorruptDataError as error:
            assert error.url == target.url
            assert error.expected
            assert error.actual
            assert error.remedy
        else:
            # Bytes that no decoder looks at (padding, a compressor's spare bits): the content is intact.
            assert kind.equal(found, kind.data()), f"{name}: wrong data came back"
            assert not name.startswith(("cut", "swapped", "blanked")), f"{name}: not noticed"
    again = kind.target(base)
    again.set_data(kind.data())
    again.persist()
    assert kind.equal(cpr.load(record).get_data(), kind.data())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning")
@pytest.mark.parametrize("place", ["memory", "local"])
@kinds
def test_damage_at_rest(kind: TargetCase, place, tmp_path):
    """Of 500 damages of each format none gives other data: it is found, or hit bytes that mean nothing."""
    base = f"memory://{uuid.uuid4().hex}" if place == "memory" else str(tmp_path)
    data = small(kind)
    target = persisted(kind, data, base)
    record, good = target.serialize(), stored_bytes(target.url)
    other = stored_bytes(persisted(kind, small(kind, 1), base).url)
    found, harmless = 0, []
    for name, bad in damages(good, other, DAMAGES if place == "memory" else DAMAGES // 10, seed=1):
        put(target.url, bad)
        try:
            read = cpr.load(record).get_data()
        except CorruptDataError as error:
            assert error.url == target.url
            assert error.expected != error.actual
            found += 1
        else:
            assert kind.equal(read, data), f"{name}: wrong data came back"
            harmless.append(name)
    # Spare bits of a compressor, padding, a time in a header: no more than a few. A quarter of a small
    # Parquet file is what it tells pandas and Arrow of itself, which cpr does not read.
    assert len(harmless) < found / (4 if kind.name == "parquet" else 10), harmless
    put(target.url, good)
    assert kind.equal(cpr.load(record).get_data(), data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning")
@kinds
def test_check_in_full_finds_what_reading_finds(kind: TargetCase):
    """check(full=True) passes only where every byte is what it was; some of these a read would not miss."""
    data = small(kind)
    target = persisted(kind, data)
    record, good = target.serialize(), stored_bytes(target.url)
    other = stored_bytes(persisted(kind, small(kind, 1)).url)
    for name, bad in damages(good, other, DAMAGES // 5, seed=2):
        put(target.url, bad)
        try:
            cpr.load(record).check(full=True)
        except CorruptDataError:
            continue
        assert kind.equal(cpr.load(record).get_data(), data), name


def large() -> np.ndarray:
    """24 planes of 256 KiB that no codec makes smaller."""
    return np.random.default_rng(5).integers(0, 1 << 16, (24, 256, 512), np.uint16)


class Touched:
    """Which blocks of an object are fetched."""

    def __init__(self, monkeypatch, url: str) -> None:
        from cpr.io import block_digests as blocks

        self.blocks: set[int] = set()
        name, fetch = io.split(url)[1], blocks.fetch_block

        def noted(store: Any, path: str, start: int, stop: int) -> bytes:
            if path.endswith(name):
                self.blocks |= set(range(start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES + 1))
            return fetch(store, path, start, stop)

        monkeypatch.setattr(blocks, "fetch_block", noted)


@pytest.mark.slow
@arrays
def test_damage_in_parts(kind: TargetCase, monkeypatch):
    """In a block that a region is read from it raises; in any other it does not matter."""
    data = large()
    target = persisted(kind, data)
    record, good = target.serialize(), stored_bytes(target.url)
    touched = Touched(monkeypatch, target.url)
    dice = np.random.default_rng(7)
    raised, unharmed = 0, 0
    for _ in range(DAMAGES // 2):
        plane, row = int(dice.integers(24)), int(dice.integers(200))
        region = np.s_[plane, row : row + 40, 10:300]
        touched.blocks = set()
        assert np.array_equal(cpr.load(record).get_data(region=region), data[region])
        read = sorted(touched.blocks)
        assert len(read) < 10
        if dice.integers(2):
            at = int(read[dice.integers(len(read))]) * BLOCK_BYTES + int(dice.integers(BLOCK_BYTES))
        else:
            at = int(dice.integers(len(good)))
        at = min(at, len(good) - 1)
        bad = bytearray(good)
        if dice.integers(2):
            bad[at] ^= 1 << int(dice.integers(8))
        else:
            bad[at : at + 50] = bytes(b ^ 0xFF for b in bad[at : at + 50])
        put(target.url, bytes(bad))
        hit = set(range(at // BLOCK_BYTES, min(at + 49, len(good) - 1) // BLOCK_BYTES + 1)) & set(read)
        try:
            part = cpr.load(record).get_data(region=region)
        except CorruptDataError as error:
            assert hit, f"byte {at} is not in {read}"
            assert error.url == target.url
            raised += 1
        else:
            # The end is fetched beside the beginning, whether anything of it is wanted or not.
            wanted = [block for block in read if block < (len(good) - END_BYTES) // BLOCK_BYTES]
            assert at // BLOCK_BYTES not in wanted, f"byte {at} is in {read}"
            assert np.array_equal(part, data[region])
            unharmed += 1
        put(target.url, good)
    assert raised > DAMAGES / 10
    assert unharmed > DAMAGES / 10


@pytest.mark.slow
@arrays
def test_parts_of_cut_swapped_and_extended_objects(kind: TargetCase):
    data = large()
    target = persisted(kind, data)
    record, good = target.serialize(), stored_bytes(target.url)
    other = stored_bytes(persisted(kind, data[::-1].copy()).url)
    regions = [np.s_[plane, 3:5] for plane in (0, 11, 23)]
    raised = 0
    for bad in (
        b"",
        good[:100],
        good[: len(good) // 2],
        good[:-1],
        good + b"x",
        other,
        good[: len(good) // 2] + other[len(good) // 2 :],
        good[BLOCK_BYTES:] + good[:BLOCK_BYTES],
        bytes(len(good)),
    ):
        put(target.url, bad)
        for region in regions:
            try:
                part = cpr.load(record).get_data(region=region)
            except CprError:
                raised += 1
            else:
                assert np.array_equal(part, data[region])
    assert raised > 15


@pytest.mark.slow
@arrays
def test_damaged_digests_never_give_wrong_data(kind: TargetCase):
    """Beside an intact object they cost time, no more; beside a damaged one they hide nothing."""
    data = large()
    target = persisted(kind, data)
    record, good = target.serialize(), stored_bytes(target.url)
    beside = stored_bytes(blocks_url(target.url))
    other = stored_bytes(blocks_url(persisted(kind, data[::-1].copy()).url))
    region = np.s_[7, 100:120]
    for name, bad in damages(beside, other, DAMAGES // 5, seed=3):
        put(blocks_url(target.url), bad)
        put(target.url, good)
        assert np.array_equal(cpr.load(record).get_data(region=region), data[region]), name
    harmed = bytearray(good)
    # Where plane 7 is differs from format to format: all planes are hit, headers are not.
    for start in range(MiB // 2, len(good) - MiB // 2, 4096):
        harmed[start] ^= 1
    put(target.url, bytes(harmed))
    for name, bad in damages(beside, other, DAMAGES // 5, seed=4):
        put(blocks_url(target.url), bad)
        with pytest.raises(CorruptDataError):
            cpr.load(record).get_data(region=region)
            pytest.fail(name)
    # Digests made to fit the damage are not those of the record.
    forged = io.writing(target.url)
    with forged as file:
        file.write(bytes(harmed))
    with pytest.raises(CorruptDataError):
        cpr.load(record).get_data(region=region)


@pytest.mark.slow
@kinds
def test_clean_reads(kind: TargetCase):
    """No false alarm in 1,000 reads: of wholes, of parts, and of checks."""
    data = small(kind)
    record = persisted(kind, data).serialize()
    for _ in range(CLEAN_READS // len(TARGET_CASES) - 25):
        assert kind.equal(cpr.load(record).get_data(), data)
    data = large() if kind in ARRAYS else kind.data()
    target = persisted(kind, data)
    dice = np.random.default_rng(9)
    for _ in range(20):
        if kind not in ARRAYS:
            assert kind.equal(cpr.load(target.serialize()).get_data(), data)
            continue
        a, b = sorted(dice.integers(0, 25, 2).tolist())
        c, d = sorted(dice.integers(0, 257, 2).tolist())
        region = np.s_[a:b, c:d, :: int(dice.integers(1, 5))]
        assert np.array_equal(cpr.load(target.serialize()).get_data(region=region), data[region])
    for _ in range(5):
        cpr.load(target.serialize()).check(full=True)


# ---- what a plane costs on the wire


@pytest.fixture
def wire(s3_server, monkeypatch):
    """A proxy that breaks nothing and counts requests and bytes."""
    with FaultProxy(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def microscope(count: int, side: int) -> Iterator[np.ndarray]:
    """Planes as a camera gives them: 12 bits, smooth, with noise in the lowest four."""
    y, x = np.mgrid[:side, :side]
    noise = np.random.default_rng(0).integers(0, 16, (side, side), np.uint16)
    for z in range(count):
        yield (np.uint16(2000) + ((x + y + 20 * z) >> 3 & 1023).astype(np.uint16)) ^ np.roll(noise, 31 * z, 0)


def require_cheap_plane(base: str, wire: FaultProxy, compression: str | None, side: int) -> None:
    """One plane of 128 takes at most 12 requests and 3 % of the file."""
    planes = 128
    target = cpr.ImageTarget.from_path(f"{base}/stack.tif", compression=compression)
    target.set_data(microscope(planes, side), shape=(planes, side, side), dtype="uint16")
    record = target.serialize()
    for number in (0, 57, 127):
        expected = next(plane for z, plane in enumerate(microscope(planes, side)) if z == number)
        wire.clear()
        assert np.array_equal(cpr.load(record).get_data(region=np.s_[number]), expected)
        requests, received = list(wire.kinds), wire.response_bytes
        assert len(requests) <= 12, requests
        print(f"plane {number}: {len(requests)} requests, {received / target.nbytes:.2%} of {target.nbytes}")
        assert received <= 0.03 * target.nbytes, f"{received} of {target.nbytes} bytes, {requests}"


compressions = pytest.mark.parametrize("compression", [None, "zlib"])


@pytest.mark.slow
@compressions
@pytest.mark.real_s3
def test_a_plane_of_128_costs_little(compression, s3_url, wire):
    require_cheap_plane(s3_url, wire, compression, 724)  # 128 MiB


@pytest.mark.slow
@pytest.mark.long
@compressions
@pytest.mark.real_s3
def test_a_plane_of_128_of_a_gibibyte_costs_little(compression, s3_url, wire):
    require_cheap_plane(s3_url, wire, compression, 2048)
