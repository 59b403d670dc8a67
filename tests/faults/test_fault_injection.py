"""Every request of every transfer breaks once, in every way, and what cpr promises holds each time.

A transfer is run undisturbed and its requests are counted; then it is run again for each of them and each
fault. Whatever breaks: a record that is handed out loads bit by bit, an error is cpr's own, nothing is
visible of what failed, no multipart upload stays open, and nobody waits for long. What a repetition can heal
(a lost connection, a lost answer, a busy server) is no error at all.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CprError
from cpr.io.block_digests import SMALL_BYTES, blocks_url
from cpr.io.transfer_width import TransferWidth
from cpr.io.write_markers import marker_url
from cpr.zarr.stores.manifest import manifest_url
from tests.faults.proxy import FAULTS
from tests.minio import buckets
from tests.target_cases import TARGET_CASES, TargetCase
from tests.text_format import TextTarget

pytestmark = [pytest.mark.real_s3, pytest.mark.slow]

SECONDS = 30
HEALED = ("cut before", "cut after", "500", "503", "delay")
MiB = 1 << 20


class TextKind(TargetCase):
    def equal(self, a: Any, b: Any) -> bool:
        return a == b


TEXT = TextKind("text", lambda: TextTarget, ".txt", lambda: "some text", lambda i: str(i), {})
NPY = next(kind for kind in TARGET_CASES if kind.name == "npy")
ROWS = 7 * MiB // 2048  # a plane of 7 MiB: three of them are three parts


def planes(count: int = 3, fail_at: int | None = None) -> Iterator[np.ndarray]:
    for index in range(count):
        if index == fail_at:
            raise ArithmeticError("the microscope went away")
        yield np.random.default_rng(index).integers(0, 60_000, (ROWS, 1024), np.uint16)


@dataclass(frozen=True)
class Transfer:
    """One way to fill a target.

    Attributes:
        fill: hands the data to a target.
        data: what has to come back.
    """

    name: str
    kind: TargetCase
    fill: Callable[[Any], None]
    data: Callable[[], Any]

    def target(self, base: str) -> Any:
        target = self.kind.target(base)
        self.fill(target)
        return target

    def read(self, record: Any) -> Any:
        """All of the data, as a reader gets it."""
        return cpr.load(record).get_data()

    def visible(self, urls: set[str], target: Any) -> set[str]:
        """What others could take for a result after an upload that has failed."""
        return urls

    def require_objects(self, urls: set[str], again: Any) -> None:
        """These are the objects of the result, and no others."""
        beside = set() if again.blocks is None else {blocks_url(again.url)}
        # A result is as good without its preview, which is made when all else is there.
        previews = {io.sidecar_url(again.url, ending) for ending in (".preview.png", ".preview.json")}
        assert urls - previews == {again.url} | beside


class ZarrTransfer(Transfer):
    """Many objects, which are a result when their manifest is there."""

    def read(self, record: Any) -> Any:
        return cpr.load(record).get_data()[...]

    def visible(self, urls: set[str], target: Any) -> set[str]:
        return urls if target is None else urls & {manifest_url(target.url)}

    def require_objects(self, urls: set[str], again: Any) -> None:
        again.verify()
        # A marker that could not be removed is an orphan, and the result is none the worse.
        beside = {url for url in urls if "/.cpr/" in url} - {marker_url(again.url)}
        assert beside == {manifest_url(again.url)}
        assert all(url.startswith(f"{again.url}/") for url in urls if "/.cpr/" not in url)


def whole(kind: TargetCase, count: int | None, name: str) -> Transfer:
    data = lambda: kind.data()[:count]
    return Transfer(name, kind, lambda target: target.set_data(data()), data)


def streamed(kind: TargetCase, count: int) -> Transfer:
    def fill(target: Any) -> None:
        announce = dict(kind.announce)
        if "shape" in announce:
            announce["shape"] = (count, *announce["shape"][1:])
        target.set_data(kind.pieces(count), **announce)

    def data() -> Any:
        reference = kind.target(f"memory://{uuid.uuid4().hex}")
        fill(reference)
        return reference.get_data()

    return Transfer(f"{kind.name} streamed", kind, fill, data)


def zarr_arrays(name: str, **options: Any) -> ZarrTransfer:
    data = lambda: np.random.default_rng(0).integers(1, 60_000, (4, 40, 64), np.uint16)
    kind = TargetCase(f"zarr {name}", lambda: cpr.ZarrTarget, ".zarr", data, lambda i: data()[i], {}, options)
    return ZarrTransfer(kind.name, kind, lambda target: target.set_data(data()), data)


SHARDS = {"chunks": (1, 40, 32), "shards": (4, 40, 64), "compressors": None}
MULTIPART = Transfer(
    "multipart",
    NPY,
    lambda target: target.set_data(planes(), shape=(3, ROWS, 1024), dtype="uint16"),
    lambda: np.stack(list(planes())),
)
# More than the size up to which an object has no digests of its blocks beside it.
BLOCKS = whole(NPY, None, "with digests beside it")
SMALL = [whole(kind, 1, kind.name) for kind in (TEXT, *TARGET_CASES)]
LARGE = [streamed(kind, 24) for kind in TARGET_CASES]
FILES = [*SMALL, BLOCKS, MULTIPART]
ZARR = [zarr_arrays("chunks", chunks=(2, 40, 64)), zarr_arrays("shards", **SHARDS)]
TRANSFERS = [*FILES, ZARR[0], pytest.param(ZARR[1], marks=pytest.mark.long)]
WITH_PARTS = [BLOCKS, MULTIPART, ZARR[0], pytest.param(ZARR[1], marks=pytest.mark.long)]

transfers = pytest.mark.parametrize("transfer", TRANSFERS, ids=lambda transfer: transfer.name)
files = pytest.mark.parametrize("transfer", FILES, ids=lambda transfer: transfer.name)
faults = pytest.mark.parametrize("fault", FAULTS)


@pytest.fixture
def bucket(s3_server, proxy):
    """What is really in the bucket, asked past the proxy."""
    return Bucket(s3_server.client(), s3_server.bucket)


class Bucket:
    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def urls(self, base: str) -> set[str]:
        listed = self._client.list_objects_v2(Bucket=self._name, Prefix=self._prefix(base))
        return {f"s3://{self._name}/{item['Key']}" for item in listed.get("Contents", [])}

    def open_uploads(self, base: str) -> list[str]:
        return [key for key, _ in buckets.open_uploads(self._client, self._name, self._prefix(base))]

    def _prefix(self, base: str) -> str:
        return base.removeprefix(f"s3://{self._name}/") + "/"


def test_there_is_a_transfer_of_each_sort():
    assert BLOCKS.data().nbytes > SMALL_BYTES
    assert MULTIPART.data().nbytes > 2 * 8 * MiB
    assert {transfer.kind.name for transfer in SMALL} == {"text", *(kind.name for kind in TARGET_CASES)}


def requests_of(proxy: Any, action: Callable[[], object]) -> list[str]:
    """The kinds of requests that an undisturbed action makes."""
    proxy.clear()
    action()
    return list(proxy.kinds)


def outcome(action: Callable[[], Any]) -> Any:
    """What an action returns or the error it raises; any but cpr's own is a failure, as is a long wait."""
    started = time.monotonic()
    try:
        return action()
    except CprError as error:
        return error
    finally:
        assert time.monotonic() - started < SECONDS


def require_whole_or_nothing(transfer: Transfer, target: Any, record: Any, bucket: Bucket, base: str) -> None:
    """After an upload: all of it, and it loads; or none of it, and the target can be stored after all."""
    if isinstance(record, CprError):
        assert record.url
        assert transfer.visible(bucket.urls(base), target) == set()
        if target is None:
            return
        assert target.checksum is None
        record = target.serialize()
    again = cpr.load(record)
    assert transfer.kind.equal(transfer.read(record), transfer.data())
    transfer.require_objects(bucket.urls(base), again)


def upload(transfer: Transfer, base: str) -> tuple[Any, Any]:
    """The target, where there is one that could be stored again, and its record or error."""
    filled = outcome(lambda: transfer.target(base))
    if isinstance(filled, CprError):  # a stream is written when it is set, and gone
        return None, filled
    return filled, outcome(filled.serialize)


@transfers
@faults
def test_uploads(transfer, fault, proxy, s3_url, bucket):
    kinds = requests_of(proxy, lambda: upload(transfer, f"{s3_url}/undisturbed"))
    assert {"put"} <= set(kinds) or {"create", "part", "complete"} <= set(kinds)
    for number, kind in enumerate(kinds):
        base = f"{s3_url}/{number}"
        proxy.break_request(number, fault)
        target, record = upload(transfer, base)
        where = f"{fault} at request {number} of {kinds}: {record!r}"
        assert len(proxy.broken) == 1, where
        proxy.clear()
        if fault in HEALED:
            assert not isinstance(record, CprError), where
        assert bucket.open_uploads(base) == [], f"{kind}: {where}"
        require_whole_or_nothing(transfer, target, record, bucket, base)


@faults
def test_uploads_that_are_given_up(fault, proxy, s3_url, bucket, monkeypatch):
    """The upload is aborted and gone, but for an abort that the server refused."""
    monkeypatch.setattr(TransferWidth, "requests", 3)
    # With three parts under way at most, three have certainly been sent when the eighth plane fails.
    for number, (kind, index) in enumerate([("create", 0), ("part", 0), ("part", 1), ("abort", 0)]):
        base = f"{s3_url}/{number}"
        target = NPY.target(base)
        proxy.break_request(index, fault, kind)
        started = time.monotonic()
        with pytest.raises((ArithmeticError, CprError)):
            target.set_data(planes(8, fail_at=7), shape=(8, ROWS, 1024), dtype="uint16")
        assert time.monotonic() - started < SECONDS
        assert proxy.broken == [f"{kind}: {fault}"]
        assert target.data_hash is None
        assert bucket.urls(base) == set()
        if proxy.broken[0] not in ("abort: 403", "abort: 412"):
            assert bucket.open_uploads(base) == [], proxy.broken


@pytest.fixture(scope="module")
def stored(s3_server):
    """The record of each transfer, made once; past the proxy, whatever the environment says."""
    base, records = f"s3://{s3_server.bucket}/{uuid.uuid4().hex}", {}

    def record_of(transfer: Transfer) -> dict[str, Any]:
        if transfer.name not in records:
            records[transfer.name] = transfer.target(f"{base}/{len(records)}").serialize()
        return records[transfer.name]

    yield record_of
    buckets.empty(s3_server.client(), s3_server.bucket, base.rpartition("/")[2] + "/")


def require_equal_or_error(
    proxy: Any, fault: str, load: Callable[[], Any], equal: Callable[[Any], bool]
) -> None:
    """Break each request of a download: right data or a typed error, and no error that could be healed."""
    kinds = requests_of(proxy, load)
    assert "get" in kinds
    for number in range(len(kinds)):
        proxy.break_request(number, fault)
        found = outcome(load)
        where = f"{fault} at request {number} of {kinds}: {found!r}"[:1000]
        assert len(proxy.broken) == 1, where
        if not isinstance(found, CprError):
            assert equal(found), where
        elif fault in (*HEALED, "cut body", "short"):
            pytest.fail(where)


@transfers
@faults
def test_downloads(transfer, fault, proxy, stored):
    record, data = stored(transfer), transfer.data()
    require_equal_or_error(
        proxy, fault, lambda: transfer.read(record), lambda found: transfer.kind.equal(found, data)
    )


@pytest.mark.parametrize("fault", ["503", "cut before", "cut after"])
def test_parts_are_sent_whole_however_often(fault, proxy, s3_url, monkeypatch):
    """botocore gives up before s3fs does, which begins anew: with all of a part, not what is left of it."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"retries": {"max_attempts": 0}}})
    attempts = itertools.count()
    proxy.plan(lambda _, kind: fault if kind == "part" and next(attempts) < 3 else None)
    record = MULTIPART.target(s3_url).serialize()
    assert proxy.broken == [f"part: {fault}"] * 3
    assert np.array_equal(cpr.load(record).get_data(), MULTIPART.data())


@faults
@pytest.mark.parametrize("transfer", WITH_PARTS, ids=lambda transfer: transfer.name)
def test_downloads_of_a_part(transfer, fault, proxy, stored):
    record, region = stored(transfer), np.s_[1, 20:60]
    data = transfer.data()[region]
    require_equal_or_error(
        proxy,
        fault,
        lambda: cpr.load(record).get_data(region=region),
        lambda found: found.dtype == data.dtype and np.array_equal(found, data),
    )


@faults
@pytest.mark.parametrize(
    "transfer",
    [SMALL[0], MULTIPART, ZARR[0], pytest.param(ZARR[1], marks=pytest.mark.long)],
    ids=lambda transfer: transfer.name,
)
def test_checks(transfer, fault, proxy, stored):
    """check(full=True) passes or raises; that it passes for a damaged object is tested with its damages."""
    record = stored(transfer)
    require_equal_or_error(
        proxy, fault, lambda: cpr.load(record).check(full=True), lambda found: found is None
    )


def require_whole_listings(fault: str, proxy: Any, base: str) -> None:
    """All the objects or an error: a result that a listing misses would be computed or lost."""
    for name in "abc":
        with io.writing(f"{base}/{name}.txt") as file:
            file.write(name.encode())
    urls = [f"{base}/{name}.txt" for name in "abc"]
    for number, _ in enumerate(requests_of(proxy, lambda: io.find(f"{base}/*.txt"))):
        proxy.break_request(number, fault)
        found = outcome(lambda: list(io.find(f"{base}/*.txt")))
        assert len(proxy.broken) == 1
        if fault in HEALED:
            assert found == urls, f"{fault} at request {number}"
        elif fault != "flip response":  # a name with a flipped bit is a name: listings carry no digest
            assert isinstance(found, CprError) or found == urls, f"{fault} at request {number}: {found}"


@faults
def test_listings(fault, proxy, s3_url):
    require_whole_listings(fault, proxy, s3_url)


# ---- wider, and only in make test-long


@pytest.mark.long
@pytest.mark.parametrize("transfer", LARGE, ids=lambda transfer: transfer.name)
@faults
def test_streams(transfer, fault, proxy, s3_url, bucket):
    test_uploads(transfer, fault, proxy, s3_url, bucket)


@pytest.mark.long
@pytest.mark.parametrize("transfer", LARGE, ids=lambda transfer: transfer.name)
@faults
def test_downloads_of_streams(transfer, fault, proxy, stored):
    test_downloads(transfer, fault, proxy, stored)


@pytest.mark.long
@files
@pytest.mark.parametrize("seed", range(10))
def test_one_request_in_eight_breaks(transfer, seed, proxy, s3_url, bucket):
    """Faults on top of faults: those of the repetitions and of the cleaning up as well."""
    proxy.break_some(1 / 8, FAULTS, seed)
    started = time.monotonic()
    _, record = upload(transfer, s3_url)
    broken = list(proxy.broken)
    if not isinstance(record, CprError):
        for _ in range(3):
            found = outcome(lambda: cpr.load(record).get_data())
            assert isinstance(found, CprError) or transfer.kind.equal(found, transfer.data()), broken
        proxy.clear()
        assert transfer.kind.equal(cpr.load(record).get_data(), transfer.data())
    assert time.monotonic() - started < 4 * SECONDS
    proxy.clear()
    if not any(fault.startswith(("create", "abort")) for fault in broken):
        assert bucket.open_uploads(s3_url) == [], broken
    # An object may be there although its upload was reported as failed; half of one may not.
    for url in bucket.urls(s3_url):
        if "/.cpr/" not in url:  # digests and a preview
            source = transfer.kind.target(s3_url)
            transfer.fill(source)
            with io.reading(url) as file:
                assert file.finish()[1] == source.persist().nbytes, broken


@pytest.mark.long
@files
def test_every_answer_to_a_commit_is_lost(transfer, proxy, s3_url, bucket):
    """The client repeats until it gives up; the object is there, and that is what counts."""
    proxy.plan(lambda _number, kind: "cut after" if kind in ("put", "complete") else None)
    record = transfer.target(s3_url).serialize()
    assert set(proxy.broken) & {"put: cut after", "complete: cut after"}
    proxy.clear()
    assert transfer.kind.equal(cpr.load(record).get_data(), transfer.data())
    assert bucket.open_uploads(s3_url) == []
