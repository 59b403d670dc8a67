"""How many requests a place deserves: networks on paper, and blocks of any size put together again."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from cpr import io
from cpr.errors import ConfigurationError
from cpr.io import transfer_width
from cpr.io.fork_safe import PerProcess
from cpr.io.seekable_files import BLOCK_BYTES, ArrivingFile
from cpr.io.transfer_width import TransferWidth, connections, width_of
from tests.faults.proxy import FaultProxy

MiB = 1 << 20


class Network:
    """So many seconds for an answer, bytes a second for a connection and for all of them together."""

    def __init__(self, delay: float, rate: float, total: float) -> None:
        self.delay, self.rate, self.total = delay, rate, total

    def seconds(self, nbytes: int, at_once: int, noise: float) -> float:
        return (self.delay + nbytes / min(self.rate, self.total / at_once)) * noise


def settle(widths: list[TransferWidth], network: Network, rounds: int = 40) -> int:
    """Rounds of requests by processes that know nothing of each other; how many are at once in the end."""
    dice = random.Random(0)
    for _ in range(rounds):
        at_once = sum(width.requests for width in widths)
        Clock.now += network.seconds(widths[0].block_bytes, at_once, 1.0)
        for width in widths:
            own, nbytes = width.requests, width.block_bytes
            for _ in range(own):
                width.learn(nbytes, network.seconds(nbytes, at_once, dice.uniform(0.8, 1.25)), own)
    return sum(width.requests for width in widths)


def new() -> TransferWidth:
    return TransferWidth(*transfer_width._DIRECTIONS["read"])


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch):
    """Rounds take the time that they take on paper."""
    monkeypatch.setattr(transfer_width, "time", SimpleNamespace(monotonic=lambda: Clock.now))


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("delay", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("rate", [1e6, 4e6, 10e6])
def test_a_far_place_gets_as_many_as_may_be(delay, rate):
    assert settle([new()], Network(delay, rate, 1e12)) > 60


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("delay", [0.1, 0.25, 1.0])
def test_a_place_that_answers_late_and_gives_much_is_not_asked_for_little(delay):
    width = new()
    width.answered(delay)
    settle([width], Network(delay, 1e9, 1e12))
    assert width.requests > 60
    assert width.block_bytes >= MiB


@pytest.mark.usefixtures("clock")
def test_a_near_place_gets_few():
    width = new()
    assert settle([width], Network(0.001, 700e6, 1e9)) <= 16
    assert width.block_bytes == 8 * MiB


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("total", [50e6, 100e6, 200e6])
def test_a_place_that_shares_is_kept_busy(total):
    network = Network(0.03, 4e6, total)
    width = new()
    settle([width], network)
    assert width.requests >= total / 4e6


@pytest.mark.usefixtures("clock")
def test_200_workers_share_fairly():
    """By a network of 10 Gbit/s: none starves, and most have what those have that have most."""
    widths = [new() for _ in range(200)]
    network = Network(0.03, 40e6, 1.25e9)
    settle(widths[:50], network, rounds=15)  # some were there before
    at_once = settle(widths, network, rounds=15)
    assert at_once * 40e6 > 1.25e9
    # However few it may have, one that is there has what the limits allow after a while.
    shares = sorted(width.requests for width in widths)
    assert shares[100] >= shares[-1] / 2
    assert shares[0] >= 4


@pytest.mark.usefixtures("clock")
def test_a_store_that_says_slow_down_gets_half_as_many_once():
    width = new()
    settle([width], Network(0.03, 4e6, 1e12))
    before = width.requests
    for _ in range(50):  # refusals of the same moment
        width.throttled()
    assert before // 2 - 1 <= width.requests <= before // 2 + 1


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("rate", [4e6, 40e6])
def test_a_store_that_says_slow_down_gets_larger_requests_for_a_while(rate):
    width, network = new(), Network(0.03, rate, 1e12)
    settle([width], network)
    before = width.block_bytes
    for _ in range(5):
        many, size, at_once = width.requests, width.block_bytes, width.requests * width.block_bytes
        Clock.now += 0.3
        width.throttled()
        assert width.requests <= max(4, many // 2)
        assert size <= width.block_bytes <= 2 * size
        # As much is under way as before, and no more than fits into memory.
        assert width.requests * width.block_bytes <= max(at_once, 96 * MiB)
    assert width.block_bytes > before or before == 8 * MiB
    Clock.now += 21
    settle([width], network)
    assert width.block_bytes == before


@pytest.mark.parametrize("transfers", [1, 3, 8, 100])
def test_transfers_of_a_process_share_its_memory(transfers):
    width = new()
    settle([width], Network(0.03, 4e6, 1e12))

    with ExitStack() as stack:
        for _ in range(transfers):
            stack.enter_context(width.transfer())
        assert transfers * width.memory_bytes <= max(96, 16 * transfers) * MiB
        assert width.requests * transfers <= max(96, 2 * transfers)
    assert width.memory_bytes == 96 * MiB


def test_connections_can_be_limited(monkeypatch):
    monkeypatch.setenv("CPR_CONNECTIONS", "7")
    width = new()
    settle([width], Network(0.03, 4e6, 1e12))
    assert width.requests == width.connections == connections() == 7


@pytest.mark.parametrize("setting", ["0", "-3", "many", "1.5", "²"])
def test_what_is_no_number_of_connections_is_refused(monkeypatch, setting):
    monkeypatch.setenv("CPR_CONNECTIONS", setting)
    with pytest.raises(ConfigurationError, match="CPR_CONNECTIONS") as caught:
        connections()
    monkeypatch.setenv("CPR_CONNECTIONS", caught.value.remedy.split("=")[1].split(",")[0])
    assert connections() == new().connections == 96


class Changing(TransferWidth):
    """Blocks of another size with every request."""

    dice = random.Random(1)

    @property
    def block_bytes(self) -> int:
        return self.dice.randrange(1, 2 * MiB)


@pytest.mark.parametrize("nbytes", [BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 5 * BLOCK_BYTES + 12345])
@pytest.mark.parametrize("seed", range(3))
def test_blocks_of_any_size_are_one_object_again(nbytes, seed):
    data = random.Random(seed).randbytes(nbytes)
    dice = random.Random(seed)
    with ArrivingFile(
        "memory://a", lambda a, b: data[a:b], nbytes, "sha256", Changing(4, (1, 1), 64 * MiB)
    ) as file:
        got = file.read(dice.randrange(nbytes))
        if seed:
            file.release(len(got) // 2)
            file.seek(len(got) // 2)
            assert file.read(100) == data[len(got) // 2 :][:100]
            file.seek(len(got))
        assert got + file.read(7) == data[: len(got) + 7]
        file.release(file.tell())
        checksum, count = file.finish()
        file.seek(0)
        with pytest.raises(ValueError, match="released"):
            file.read(1)

    assert (checksum, count) == (f"sha256:{hashlib.sha256(data).hexdigest()}", nbytes)


def test_a_file_that_is_closed_asks_for_no_more():
    asked, go_on = [], threading.Event()

    def fetch(start: int, stop: int) -> bytes:
        asked.append(start)
        go_on.wait(10)
        return bytes(stop - start)

    width = new()
    file = ArrivingFile("memory://a", fetch, 64 * MiB, "sha256", width)
    reader = threading.Thread(target=lambda: file.readinto(bytearray(1)), daemon=True)
    reader.start()
    while len(asked) < 4:
        os.sched_yield() if hasattr(os, "sched_yield") else None
    go_on.set()
    reader.join(30)
    file.close()
    count = len(asked)
    assert count < 200
    assert width.memory_bytes == 96 * MiB


@pytest.mark.real_s3
def test_a_first_small_write_tells_how_far_away_a_bucket_is(s3_server, s3_url, monkeypatch):
    """Nothing is asked before it: who writes a Zarr at a new place begins with a marker."""
    monkeypatch.setattr(transfer_width, "_widths", PerProcess())
    with FaultProxy(s3_server.endpoint) as proxy:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, proxy.endpoint)
        proxy.plan(lambda _number, kind: "delay" if kind == "put" else None)
        with io.writing(f"{s3_url}/small") as file:
            file.write(b"a")
    assert proxy.broken == ["put: delay"]
    for direction in ("read", "write"):
        assert width_of(s3_url, direction).is_far
        assert not width_of("s3://another", direction).is_far
