"""Who holds a lease, for how long, and what others see of it; without Prefect."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from types import SimpleNamespace

import pytest

from cpr import io
from cpr.io.locks import claims, compare_and_swap, leases
from cpr.io.locks.claims import Claim
from cpr.io.locks.compare_and_swap import read, swap
from cpr.io.locks.leases import acquiring, lease_here, release, waiting
from cpr.io.stores.local_cas import VersionedFolder


@pytest.fixture(
    params=[
        "memory",
        pytest.param("local", marks=pytest.mark.slow),
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("az", marks=pytest.mark.azure),
    ]
)
def url(request, tmp_path):
    folder = {"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path / "locks")}.get(request.param)
    return f"{folder or request.getfixturevalue(f'{request.param}_url')}/{uuid.uuid4().hex}.cpr-lease"


@pytest.fixture
def local(tmp_path):
    return str(tmp_path / "locks" / f"{uuid.uuid4().hex}.cpr-lease")


def result_of(steps):
    try:
        while True:
            time.sleep(next(steps))
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def take(url, holder="me", **options):
    return result_of(acquiring(url, holder, **options))


class Other:
    """Another process: writes what one would, and is not in this process's table."""

    def __init__(self, url, seconds, holder="other:1"):
        self.url, self.version, self.count = url, None, 0
        self.fields = {"cpr-lease": 1, "token": uuid.uuid4().hex, "seconds": seconds, "holder": holder}

    def write(self, released=False, over=None):
        self.count += 1
        content = json.dumps({**self.fields, "count": self.count, "released": released}).encode()
        won, now = swap(self.url, content, over or self.version)
        assert won
        self.version = now.version
        return self


def content(url):
    return json.loads(read(url).content)


def test_taken_seen_and_given_back(url):
    lease = take(url)
    assert lease.is_valid
    assert lease_here(url, "me") is lease
    assert not content(url)["released"]
    assert take(url, "you", timeout=0) is None
    assert result_of(waiting(url, 0)) is False
    release(url, "me")
    assert content(url)["released"]
    assert lease_here(url) is None
    assert result_of(waiting(url, 0)) is True
    assert take(url, "you", timeout=0) is not None
    release(url, "you")


def test_the_same_holder_gets_the_same_lease(url):
    assert take(url) is take(url)
    release(url, "me")


def test_only_its_holder_gives_it_back(url):
    take(url)
    with pytest.raises(ValueError, match="not held by 'you'"):
        release(url, "you")
    assert lease_here(url, "me").is_valid
    release(url, "me")


def test_one_that_is_renewed_is_not_taken_over(url):
    other = Other(url, 0.5).write()
    ends = time.monotonic() + 1.5
    outcome = []
    waiter = threading.Thread(target=lambda: outcome.append(take(url, timeout=20)), daemon=True)
    waiter.start()
    while time.monotonic() < ends:
        assert outcome == []
        other.write()
        time.sleep(0.1)
    other.write(released=True)
    waiter.join(20)
    assert outcome[0].is_valid
    release(url, "me")


def test_of_a_dead_holder_it_is_taken_over_when_its_time_is_over(url):
    Other(url, 1.0).write()
    started = time.monotonic()
    assert take(url, timeout=20).is_valid
    assert 1.0 <= time.monotonic() - started < 15
    release(url, "me")


def test_of_a_long_dead_holder_it_is_taken_over_at_once(local):
    """By the clock of the store, without watching it for its length."""
    Other(local, 30.0).write()
    (name,) = os.listdir(local)
    before = time.time() - 60
    os.utime(os.path.join(local, name), (before, before))
    assert take(local, timeout=0).is_valid
    release(local, "me")


def test_it_is_renewed_while_it_is_held(url):
    lease = take(url, seconds=0.6)
    first = content(url)["count"]
    time.sleep(1.5)
    assert lease.is_valid
    assert content(url)["count"] >= first + 3
    release(url, "me")


def test_who_was_held_up_finds_it_lost_and_touches_nothing(url, caplog):
    caplog.set_level(logging.WARNING, "cpr")
    lease = take(url, seconds=0.6)
    other = Other(url, 30, "elsewhere:7").write(over=read(url).version)
    deadline = time.monotonic() + 10
    while lease.is_valid and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    assert not lease.is_valid
    assert not lease.confirm()
    release(url, "me")  # no error: it did hold it
    assert content(url)["token"] == other.fields["token"]
    assert "elsewhere:7" in caplog.text
    assert "makes no difference" in caplog.text


def test_whose_renewals_failed_confirms_that_nobody_has_taken_it(local, monkeypatch):
    monkeypatch.setattr(leases, "_look_after", lambda lease: None)
    lease = take(local, seconds=0.2)
    time.sleep(0.3)
    assert not lease.is_valid
    assert lease.confirm()
    assert lease.is_valid
    release(local, "me")


def test_it_is_given_back_after_the_longest_time_to_hold(url):
    take(url, hold=0.5)
    assert take(url, "you", timeout=20) is not None
    release(url, "me")  # no error: its time was over
    release(url, "you")


def test_it_is_given_back_when_what_it_guards_has_ended(url):
    going = [True]
    take(url, seconds=0.6, goes_on=lambda: going[0])
    time.sleep(1)
    assert lease_here(url, "me").is_valid
    going[0] = False
    assert take(url, "you", timeout=20) is not None
    release(url, "you")


def test_what_nobody_could_have_written_is_held_until_it_does_not_change(url, monkeypatch):
    monkeypatch.setattr(claims, "LEASE_SECONDS", 1.0)
    swap(url, b"\xff not a lease " + os.urandom(4), None)
    assert take(url, timeout=0) is None
    assert take(url, timeout=20) is not None
    release(url, "me")


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": 1e9},
        {"seconds": -1},
        {"seconds": True},
        {"seconds": "1"},
        {"count": 1.5},
        {"token": 1},
        {"released": "yes"},
        {"holder": None},
    ],
)
def test_a_strangers_claim_is_not_believed(change):
    fields = {"token": "a", "count": 1, "seconds": 1.0, "holder": "h", "released": False}
    assert claims.Claim.parse(json.dumps(fields).encode()) is not None
    assert claims.Claim.parse(json.dumps({**fields, **change}).encode()) is None


def test_a_holders_name_cannot_break_a_log():
    fields = {"token": "a", "count": 1, "seconds": 1.0, "holder": "x\n\x1b[0m" * 100, "released": False}
    holder = claims.Claim.parse(json.dumps(fields).encode()).holder
    assert holder.isprintable()
    assert len(holder) == 100


def test_threads_wait_without_asking_the_store(url, monkeypatch):
    asked = []
    monkeypatch.setattr(leases, "read", lambda place: asked.append(place) or read(place))
    take(url)
    asked.clear()

    def wait(name):
        take(url, name)
        release(url, name)

    waiters = [threading.Thread(target=wait, args=(f"waiter {n}",), daemon=True) for n in range(20)]
    for waiter in waiters:
        waiter.start()
    time.sleep(0.5)
    assert asked == []
    release(url, "me")
    for waiter in waiters:
        waiter.join(30)
        assert not waiter.is_alive()


def test_two_hundred_waiters_ask_seldom(monkeypatch):
    """A waiter alone: 5 times a second at first, every few seconds later."""
    now = [1000.0]
    monkeypatch.setattr(claims, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watch = claims.Watch()
    claim = claims.Claim("token", 1, 30.0, "h").encode()
    looks = []
    while now[0] < 1120:
        # Renewed all the while.
        assert not watch.is_free("u", compare_and_swap.Versioned(claim, f"{now[0] // 10}", None))
        looks.append(now[0] - 1000)
        now[0] += watch.pause
    assert sum(look < 1 for look in looks) <= 10
    assert sum(1 <= look < 20 for look in looks) <= 40
    assert 200 * sum(look >= 20 for look in looks) / 100 <= 80  # requests a second of 200 waiters


def test_a_forked_child_holds_nothing(local):
    take(local, seconds=0.6)
    pid = os.fork()
    if pid == 0:
        nothing = lease_here(local) is None and take(local, "child", timeout=0) is None
        os._exit(0 if nothing else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    time.sleep(1)
    assert lease_here(local).is_valid
    release(local, "me")


def test_old_ones_are_orphans(url):
    folder = url.rpartition("/")[0]
    take(url)
    release(url, "me")
    assert io.find_orphans(folder) == []
    assert [orphan.url.startswith(url) for orphan in io.remove_orphans(folder, timedelta(0))] == [True]
    assert read(url) is None


_FREE = json.dumps(asdict(Claim("t", 1, 30.0, "h", True))).encode()


def _folder(path):
    path.mkdir()


def _link(path):
    path.symlink_to("/etc/hostname")


def _link_to_nothing(path):
    path.symlink_to(path.with_name("nothing"))


def _link_to_itself(path):
    path.symlink_to(path.name)


def _pipe(path):
    os.mkfifo(path)


def _text(path):
    path.write_text("{}")
    os.utime(path, (0, 0))


def _free(path):
    path.write_bytes(_FREE)


def _huge(path):
    with path.open("wb") as file:
        file.truncate(1 << 33)
    os.utime(path, (0, 0))


def _deep(path):
    path.write_text("[" * (1 << 16))
    os.utime(path, (0, 0))


_NOT_FILES = [_folder, _link, _link_to_nothing, _link_to_itself, _pipe]
_FILES = [_text, _free, _huge, _deep]
_LAST = "9" * 12


@pytest.mark.parametrize(
    "found",
    [
        *({name: _text} for name in ("5", "\u0663", "000000000007.bak", "9" * 30)),
        *({name: make} for name in ("000000000001", "000000000007", _LAST) for make in _NOT_FILES),
        *({name: make} for name in ("000000000001", "000000000007", _LAST) for make in _FILES),
        # At the number that comes next, and at those after it.
        *({"000000000007": _free, "000000000008": make, "000000000009": _folder} for make in _NOT_FILES),
        {_LAST: _free, "000000000001": _pipe, "000000000002": _link},
        {_LAST: _free, "999999999998": _free, "999999999997": _folder},
        {f"{10**12 - 2}": _free, _LAST: _folder},
    ],
    ids=lambda found: ", ".join(f"{name} {make.__name__[1:]}" for name, make in found.items()),
)
def test_what_somebody_has_put_into_a_lock_folder_is_none_of_ours(tmp_path, found):
    folder = tmp_path / f"{'a' * 32}.cpr-lease"
    folder.mkdir()
    for name, make in found.items():
        make(folder / name)
    for holder in ("me", "you"):
        steps, looks = acquiring(str(folder), holder, timeout=3.0), 0
        with pytest.raises(StopIteration) as ended:
            while True:
                next(steps)
                looks += 1
        assert ended.value.value.is_valid
        assert looks <= 2
        ended.value.value.renew()
        assert ended.value.value.is_valid
        release(str(folder), holder)
    # What is no file was left alone.
    kept = [name for name, make in found.items() if make in _NOT_FILES]
    assert [os.path.lexists(folder / name) for name in kept] == [True] * len(kept)


def test_after_the_last_number_one_of_many_gets_the_first(tmp_path):
    for turn in range(20):
        folder = tmp_path / f"{turn}"
        folder.mkdir()
        _free(folder / _LAST)
        start = threading.Barrier(8)

        def write(number, folder=folder, start=start):
            start.wait()
            return VersionedFolder(str(folder)).write_if(b"%d" % number, str(10**12 - 1))

        with ThreadPoolExecutor(8) as pool:
            written = list(pool.map(write, range(8)))
        (version,) = (one for one in written if one is not None)
        kept = VersionedFolder(str(folder)).read()
        assert (kept.content, kept.version) == (b"%d" % written.index(version), version)
