"""Workers that run for weeks: what they no longer need they let go of."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import numpy as np
import pytest

import cpr
from cpr.io.filesystems import filesystem
from cpr.io.stores.s3_obstore import fast_bucket


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def store_and_read(base: str, number: int) -> None:
    for cls, ext in ((cpr.NumpyTarget, ".npy"), (cpr.ZarrTarget, ".zarr")):
        target = cls.from_path(f"{base}/a{ext}")
        target.set_data(np.arange(9) + number)
        assert cpr.load(target.serialize()).get_data()[...][0] == number


@pytest.mark.s3
def test_filesystems_of_former_credentials_are_let_go_of(s3_url, monkeypatch):
    """With their connections; 12 MiB each stayed for every change."""
    former = []
    for number in range(4):
        monkeypatch.setenv("AWS_SESSION_TAG", str(number))
        store_and_read(s3_url, number)
        fs, path = filesystem(s3_url)
        bucket = fast_bucket(fs, path.partition("/")[0])
        former += [weakref.ref(fs), weakref.ref(fs)]
        if bucket is not None:
            former[-1] = weakref.ref(bucket)
        del fs, bucket
    monkeypatch.setenv("AWS_SESSION_TAG", "last")
    store_and_read(s3_url, 9)
    gc.collect()
    assert [one() for one in former] == [None] * len(former)


def test_few_filesystems_are_kept_whatever_the_table_says(tmp_path, monkeypatch):
    """Options that rotate in the table make others as well."""
    table = tmp_path / "storage.json"
    monkeypatch.setenv("CPR_STORAGE", str(table))
    former = []
    for number in range(40):
        table.write_text(
            f'{{"places": {{"s3://bucket/": {{"key": "k{number}", "secret": "s{number:03}"}}}}}}'
        )
        former.append(weakref.ref(filesystem("s3://bucket/a")[0]))
    gc.collect()
    assert sum(one() is not None for one in former) <= 32
    assert former[-1]() is not None


@pytest.mark.skipif(os.name != "posix", reason="counts descriptors and forks")
@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=pytest.mark.s3)])
def test_descriptors_and_threads_stay_as_many(where, request, tmp_path):
    base = str(tmp_path) if where == "local" else request.getfixturevalue("s3_url")
    for number in range(5):
        store_and_read(base, number)
    before = descriptors(), threading.active_count()
    for number in range(25):
        store_and_read(base, number)
    sources = [cpr.NumpySource.from_path(one.get_path()) for one in cpr.NumpySource.glob(f"{base}/*.npy")]
    held = [(source, source.get_data(region=np.s_[2:3])) for source in sources]
    for _ in range(10):
        child = os.fork()
        if not child:
            os._exit(0 if len(cpr.NumpySource.glob(f"{base}/*.npy")) == len(held) else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gc.collect()
    # Pools of connections and threads fill up; they do not grow with every result.
    assert descriptors() <= before[0] + 8
    assert threading.active_count() <= before[1] + 8
