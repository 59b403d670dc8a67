"""Bytes that arrive wrong, a thousand times; clean ones, a thousand times; and a server that is half down."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import cpr
from cpr.errors import CorruptDataError, CprError
from tests.faults.test_corruption_at_rest import large, small
from tests.faults.test_fault_injection import MULTIPART
from tests.minio import buckets
from tests.target_cases import TARGET_CASES, TargetCase

pytestmark = [pytest.mark.real_s3, pytest.mark.slow]

DAMAGES = 1000
CLEAN_READS = 1000
PUTS = GETS = 200

ZARR = TargetCase("zarr", lambda: cpr.ZarrTarget, ".zarr", lambda: None, lambda i: None, {"shape": ()})
ALL = [*TARGET_CASES, ZARR]

kinds = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)


def data_of(kind: TargetCase) -> Any:
    return small(kind)


def read(record: Any) -> Any:
    found = cpr.load(record).get_data()
    return found if hasattr(found, "columns") else found[...]


@pytest.fixture(scope="module")
def stored(s3_server):
    """The record of a small result of each kind; written past the proxy, which nobody has asked for yet."""
    base = f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"
    found = {}
    for kind in ALL:
        target = kind.target(f"{base}/{kind.name}")
        target.set_data(data_of(kind))
        found[kind.name] = target.serialize()
    yield found
    buckets.empty(s3_server.client(), s3_server.bucket, base.rpartition("/")[2] + "/")


def damage(dice: np.random.Generator) -> tuple[str, Callable[[bytes], bytes]]:
    """One way in which an answer may be wrong though HTTP agrees: one bit, or fewer bytes."""
    share, bit = float(dice.random()), 1 << int(dice.integers(8))

    def flip(body: bytes) -> bytes:
        at = int(share * len(body))
        return body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :] if body else body

    def shorten(body: bytes) -> bytes:
        return body[: int(share * len(body))]

    return ("flip", flip) if dice.random() < 0.5 else ("short", shorten)


@pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning")
@kinds
def test_damage_on_the_wire(kind: TargetCase, proxy, stored):
    """None gives other data: it is an error, or healed by asking again, or of bytes that mean nothing."""
    record, data = stored[kind.name], data_of(kind)
    dice = np.random.default_rng(sum(map(ord, kind.name)))
    ends: Counter[str] = Counter()
    harmless = 0
    for _ in range(-(-DAMAGES // len(ALL))):
        sort, wrong = damage(dice)
        # One answer, which may be asked for again, or all of them, which says what is known of it.
        always = bool(dice.integers(2))
        proxy.plan(
            lambda number, its_kind, wrong=wrong, always=always: (
                wrong if its_kind == "get" and (always or number == 0) else None
            )
        )
        try:
            found = read(record)
        except CprError as error:
            ends[sort] += 1
            assert error.url
            if sort == "flip":
                assert isinstance(error, CorruptDataError)
        else:
            assert kind.equal(found, data), f"{sort}: wrong data came back"
            harmless += always
        assert proxy.broken
    assert ends["flip"] > 20
    assert ends["short"] > 20
    # Bytes that change nothing in the data: its checksum is wrong, its content is found to be right.
    # A quarter of a small Parquet file is what it tells pandas and Arrow of itself.
    assert harmless < (ends["flip"] + ends["short"]) / (2 if kind.name == "parquet" else 5)


def test_damages_are_as_many_as_they_say():
    assert -(-DAMAGES // len(ALL)) * len(ALL) >= DAMAGES


def test_damage_on_the_wire_of_many_requests(proxy, s3_url):
    """Of an object that arrives in blocks and of its parts, each of the answers."""
    record, data = MULTIPART.target(s3_url).serialize(), MULTIPART.data()
    region = np.s_[1, 20:900]
    dice = np.random.default_rng(3)
    found_out = 0
    for load, expected in (
        (lambda: cpr.load(record).get_data(), data),
        (lambda: cpr.load(record).get_data(region=region), data[region]),
    ):
        proxy.clear()
        load()
        count = len(proxy.kinds)
        for number in [n for n, kind in enumerate(list(proxy.kinds)) if kind == "get"] * 4:
            sort, wrong = damage(dice)
            proxy.plan(lambda n, kind, wrong=wrong, number=number: wrong if n == number else None)
            try:
                got = load()
            except CorruptDataError:
                found_out += 1
            else:
                assert np.array_equal(got, expected), sort
            assert len(proxy.kinds) >= count - 1
    assert found_out > 5


@kinds
def test_clean_reads(kind: TargetCase, proxy, stored):
    """No false alarm in 1,000 reads over HTTP."""
    record, data = stored[kind.name], data_of(kind)
    for _ in range(-(-CLEAN_READS // len(ALL))):
        assert kind.equal(read(record), data)


@pytest.mark.parametrize("threads", [8, pytest.param(1, marks=pytest.mark.long)])
def test_a_server_that_refuses_a_third_of_all_requests(threads, proxy, s3_url):
    """200 puts and gets while 30 % of the requests are answered with 503 or 500: not one fails."""
    targets = []
    for number in range(PUTS):
        kind = ALL[number % len(ALL)]
        target = kind.target(f"{s3_url}/{number}")
        target_data = small(kind, number)
        targets.append((kind, target, target_data))
    proxy.break_some(0.3, ("503", "500"), seed=threads)

    def put(one: tuple[TargetCase, Any, Any]) -> Any:
        _, target, data = one
        target.set_data(data)
        return target.serialize()

    with ThreadPoolExecutor(threads) as pool:
        records = list(pool.map(put, targets))
        found = list(pool.map(read, records))
    asked, broken = len(proxy.kinds), len(proxy.broken)
    for (kind, _, data), got in zip(targets, found, strict=True):
        assert kind.equal(got, data)
    assert len(records) == PUTS == GETS
    assert broken > 0.2 * asked
    proxy.clear()
    for (kind, _, data), record in zip(targets, records, strict=True):
        assert kind.equal(read(record), data)


def test_reads_of_parts_from_such_a_server(proxy, s3_url):
    data = large()
    target = cpr.NumpyTarget.from_path(f"{s3_url}/large.npy")
    target.set_data(data)
    record = target.serialize()
    proxy.break_some(0.3, ("503", "500"), seed=5)
    for number in range(GETS // 5):
        region = np.s_[number % 24, number : number + 9]
        assert np.array_equal(cpr.load(record).get_data(region=region), data[region])
    assert len(proxy.broken) > 15
