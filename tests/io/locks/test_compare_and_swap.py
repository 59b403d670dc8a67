"""Of all who write on one version exactly one succeeds, on every store that can do that; others say so."""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from cpr import io
from cpr.errors import ResourceNotFoundError, TransferError, UnsupportedStoreError
from cpr.io.locks import compare_and_swap as conditional
from cpr.io.locks.compare_and_swap import read, require_conditional, swap
from cpr.io.objects import open_store
from cpr.io.stores import local_cas as versioned

STORES = [
    "memory",
    "local",
    pytest.param("s3", marks=pytest.mark.s3),
    pytest.param("gs", marks=pytest.mark.gcs),
    pytest.param("az", marks=pytest.mark.azure),
]


@pytest.fixture(params=STORES)
def folder(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    if request.param == "local":
        return str(tmp_path / "locks")
    return request.getfixturevalue(f"{request.param}_url")


numbers = itertools.count()


def unique() -> bytes:
    return f"{next(numbers)} {uuid.uuid4().hex}".encode()


def test_created_once_replaced_once(folder):
    url = f"{folder}/a"
    assert read(url) is None
    one, two, three = unique(), unique(), unique()
    created, first = swap(url, one, None)
    assert created
    assert read(url).content == one
    assert read(url).version == first.version
    assert swap(url, unique(), None)[0] is False
    replaced, second = swap(url, two, first.version)
    assert replaced
    assert second.version != first.version
    refused, now = swap(url, three, first.version)
    assert not refused
    assert now.content == read(url).content == two
    assert now.version == second.version


def test_what_is_gone_is_not_replaced(folder):
    url = f"{folder}/a"
    _, first = swap(url, unique(), None)
    for orphan in everything(folder):
        io.remove(orphan)
    assert swap(url, unique(), first.version) == (False, None)
    assert read(url) is None


def everything(folder: str) -> list[str]:
    store, path = open_store(folder)
    return [entry.url for entry in store.walk(path)]


def test_of_many_exactly_one(folder):
    url = f"{folder}/a"
    ready = threading.Barrier(8)
    version = None
    for _ in range(5):

        def race(content, version=version):
            ready.wait(30)
            return swap(url, content, version)

        with ThreadPoolExecutor(8) as pool:
            contents = [unique() for _ in range(8)]
            outcomes = list(pool.map(race, contents))
        winners = [content for content, (won, _) in zip(contents, outcomes, strict=True) if won]
        assert len(winners) == 1
        now = read(url)
        assert now.content == winners[0]
        version = now.version


def test_a_store_that_can_is_tried_out_once_and_left_clean(folder):
    require_conditional(folder)
    require_conditional(folder)
    assert everything(folder) == []


def test_age_is_told_by_the_store(folder):
    url = f"{folder}/a"
    swap(url, unique(), None)
    age = read(url).age
    assert age is None if folder.startswith("memory") else 0 <= age < 30


@pytest.mark.parametrize("url", ["sftp://host/locks", "oci://container/locks", "ftp://host/locks"])
def test_other_stores_say_that_they_cannot(url):
    with pytest.raises(UnsupportedStoreError, match=r"no conditional writes.*Remedy: put the locks into"):
        require_conditional(url)


def test_a_store_that_ignores_conditions_is_found_out(folder, monkeypatch):
    if folder.startswith(("/", "memory")):
        pytest.skip("not tried out: made of what cannot ignore it")
    place = type(conditional._conditional(f"{folder}/a"))
    real = place.write_if
    for ignored in ("create", "replace"):

        def deaf(self, content, version, ignored=ignored):
            given = real(self, content, version)
            if given is None and (version is None) == (ignored == "create"):
                now = self.read()
                return real(self, content, now.version)
            return given

        monkeypatch.setattr(place, "write_if", deaf)
        with pytest.raises(UnsupportedStoreError, match="ignores the condition"):
            require_conditional(folder)
        assert everything(folder) == []


@pytest.mark.s3
def test_a_missing_bucket_is_named(s3_server):
    with pytest.raises(ResourceNotFoundError, match="no such bucket"):
        require_conditional(f"s3://no-such-bucket-{uuid.uuid4().hex}/locks")


class TestLocal:
    def test_a_slow_writer_whose_number_is_free_again_has_lost(self, tmp_path, monkeypatch):
        """It saw version 1, sleeps while 2 and 3 come and go, and succeeds in linking 2."""
        url = str(tmp_path / "a")
        _, first = swap(url, unique(), None)
        link = os.link
        later = unique()

        def slow(source, target):
            monkeypatch.setattr(os, "link", link)
            _, second = swap(url, unique(), first.version)
            assert swap(url, later, second.version)[0]
            assert not os.path.exists(target)
            link(source, target)

        monkeypatch.setattr(os, "link", slow)
        won, now = swap(url, unique(), first.version)
        assert not won
        assert now.content == read(url).content == later
        assert len(os.listdir(url)) == 1

    def test_nothing_but_the_last_version_stays(self, tmp_path):
        url = str(tmp_path / "a")
        version = None
        for _ in range(20):
            _, now = swap(url, unique(), version)
            version = now.version
        assert os.listdir(url) == [f"{20:012d}"]

    def test_a_file_system_without_links_says_so(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise PermissionError(versioned.errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        with pytest.raises(UnsupportedStoreError, match="no hard links"):
            swap(str(tmp_path / "a"), unique(), None)
        assert os.listdir(tmp_path / "a") == []

    def test_a_folder_that_cannot_be_written_to(self, tmp_path):
        blocked = tmp_path / "file"
        blocked.write_text("")
        with pytest.raises(TransferError):
            swap(str(blocked / "a"), unique(), None)
