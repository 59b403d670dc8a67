"""Attempts at a Zarr that nobody finishes are removed; running ones, and results, never are."""

from __future__ import annotations

import os
import sys
import time
import uuid
from datetime import timedelta

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import ResourceNotFoundError
from cpr.io import write_markers as unfinished
from cpr.io.block_digests import blocks_url

DATA = np.random.default_rng(0).integers(0, 9, (4, 40, 60)).astype("uint16")
NOW = timedelta(seconds=-60)


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def written(base: str) -> cpr.ZarrTarget:
    target = cpr.ZarrTarget.from_path(f"{base}/deep/cells.zarr", chunks=(1, 20, 20))
    target.set_data(DATA)
    return target


def everything(base: str) -> set[str]:
    return set(io.find(f"{base}/**")) | set(io.find(f"{base}/deep/.cpr/*"))


def test_results_are_never_orphans(base):
    target = written(base).persist()
    before = everything(base)
    assert unfinished.marker_url(target.url) not in before
    assert io.remove_orphans(base, NOW) == []
    assert everything(base) == before
    # Nor is a Zarr of the same name that came from elsewhere, without anything beside it.
    io.remove(blocks_url(target.url))
    assert io.remove_orphans(base, NOW) == []
    assert target.url


def test_what_a_dead_writer_left_is_one_orphan(base):
    dead, result = written(base), written(base).persist()
    assert io.find_orphans(base) == []
    (orphan,) = io.find_orphans(base, NOW)
    assert (orphan.url, orphan.is_folder, orphan.upload) == (dead.url, True, None)
    sizes = [found.nbytes for found in io.find(f"{dead.url}/**").values()]
    assert orphan.nbytes == sum(sizes) + io.stat(unfinished.marker_url(dead.url)).nbytes
    assert io.remove_orphans(base, NOW) == [orphan]
    assert all(url.startswith(result.url) or url == blocks_url(result.url) for url in everything(base))
    assert result.verify() == len(io.find(f"{result.url}/**"))


def test_a_writer_of_twelve_hours_is_told_from_a_dead_one(tmp_path):
    """By its youngest object: the marker is as old as the attempt, and most chunks are not much younger."""
    target = written(str(tmp_path))
    urls = [*io.find(f"{target.url}/**"), unfinished.marker_url(target.url)]
    for url in urls:
        os.utime(url, (time.time() - 43200,) * 2)
    (orphan,) = io.find_orphans(tmp_path, timedelta(hours=1))
    assert orphan.is_folder
    os.utime(urls[3])
    assert io.find_orphans(tmp_path, timedelta(hours=1)) == []
    target.persist().verify()


def test_a_writer_that_was_taken_for_dead_does_not_publish(base):
    target = written(base)
    assert [one.url for one in io.remove_orphans(base, NOW)] == [target.url]
    for _ in range(2):
        with pytest.raises(ResourceNotFoundError, match="removed as an orphan") as caught:
            target.persist()
        assert caught.value.url == target.url
        assert "older_than" in caught.value.remedy
        assert io.lookup(blocks_url(target.url)) is None
    assert [one.url for one in io.remove_orphans(base, NOW)] == [target.url]
    assert everything(base) == set()
    target.set_data(DATA)
    assert np.array_equal(target.persist().get_data()[...], DATA)


def test_whoever_comes_second_sees_the_other(base, monkeypatch):
    """The writer has published and not looked at its marker yet, when the remover comes."""
    target = written(base)
    confirm, taken = unfinished.confirm, []

    def too_late(url, witness=None):
        taken.append(unfinished.take_over(url))
        confirm(url, witness)

    monkeypatch.setattr(sys.modules["cpr.zarr.ZarrTarget"], "confirm", too_late)
    with pytest.raises(ResourceNotFoundError, match="removed as an orphan"):
        target.persist()
    assert taken == [False]
    assert io.lookup(blocks_url(target.url)) is None
    assert len(io.find(f"{target.url}/**")) == 1 + 24
    assert [one.url for one in io.remove_orphans(base, NOW)] == [target.url]
    assert everything(base) == set()


def test_a_writer_killed_between_publishing_and_its_marker(base):
    target = written(base).persist()
    unfinished.mark(target.url)
    (orphan,) = io.find_orphans(base, NOW)
    assert (orphan.url, orphan.is_folder) == (unfinished.marker_url(target.url), False)
    assert not unfinished.take_over(target.url)
    assert io.find_orphans(base, NOW) == []
    unfinished.mark(target.url)
    assert [one.url for one in io.remove_orphans(base, NOW)] == [orphan.url]
    target.verify()


def test_a_removal_that_was_interrupted_goes_on(base):
    target = written(base)
    assert unfinished.take_over(target.url)
    assert [one.url for one in io.remove_orphans(base, NOW)] == [target.url]
    assert everything(base) == set()


def test_a_failed_attempt_leaves_no_marker(base):
    target = cpr.ZarrTarget.from_path(f"{base}/deep/cells.zarr")
    with pytest.raises(cpr.EncodeError):
        target.set_data(iter(DATA[:2]), shape=DATA.shape, dtype=DATA.dtype)
    assert everything(base) == set()
    target.create().create_array("a", data=DATA)
    first = target.url
    assert io.lookup(unfinished.marker_url(first)) is not None
    target.set_data(DATA)
    assert io.lookup(unfinished.marker_url(first)) is None
    target.persist()
    assert io.find_orphans(base, NOW) == []
