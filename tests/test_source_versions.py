"""A source is one version, from the cache key to the last byte: replaced at any moment, it is noticed."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tifffile

import cpr
from cpr import io
from cpr.errors import CprError, SourceChangedError, TransferError
from cpr.io.clients.thread_lock import exclusive_use
from cpr.io.filesystems import filesystem
from cpr.io.objects import open_store
from tests.faults.proxy import FaultProxy
from tests.text_format import TextSource

PLANES, SIDE = 6, 200
STORES = [
    "local",
    "memory",
    pytest.param("s3", marks=pytest.mark.s3),
    pytest.param("s3fs", marks=pytest.mark.s3),
    pytest.param("gs", marks=pytest.mark.gcs),
    pytest.param("az", marks=[pytest.mark.azure, pytest.mark.long]),
    "sftp",
]


@pytest.fixture(params=STORES)
def base(request, tmp_path, monkeypatch) -> str:
    match request.param:
        case "local":
            return str(tmp_path)
        case "memory":
            return f"memory://{uuid.uuid4().hex}"
        case "sftp":
            return f"{request.getfixturevalue('sftp_url')}/{uuid.uuid4().hex}"
        case "gs" | "az" as protocol:
            return f"{request.getfixturevalue(f'{protocol}_url')}/{uuid.uuid4().hex}"
    url = request.getfixturevalue("s3_url")
    if request.param == "s3fs":
        monkeypatch.setattr("cpr.io.stores.s3_obstore.fast_bucket", lambda *_: None)
    return f"{url}/{uuid.uuid4().hex}"


def put(url: str, data: bytes, long_ago: bool = False) -> None:
    """As another program does: a local file is renamed to its place, or written over, as it may be.

    One that was written long ago need not be looked at twice.
    """
    with io.writing(url) as file:
        file.write(data)
    if long_ago and url.startswith("sftp://"):
        fs, path = filesystem(url)
        with exclusive_use(fs):
            fs.ftp.utime(path, (1_000_000_000, 1_000_000_000))


def image_of(value: int) -> bytes:
    import io as bytes_io

    file = bytes_io.BytesIO()
    planes = np.full((PLANES, SIDE, SIDE), value, "uint16")
    tifffile.imwrite(file, planes, photometric="minisblack", rowsperstrip=SIDE)
    return file.getvalue()


ONE, TWO = image_of(1), image_of(2)


def text_of(value: int) -> bytes:
    return bytes([ord("0") + value]) * (20 << 20)  # several blocks


@contextmanager
def each_request(url: str, do: Callable[[int], None]) -> Iterator[list[str]]:
    """Do something before every request for an object, which is given its number; the requests."""
    store = type(open_store(url)[0])
    asked: list[str] = []
    busy: list[None] = []
    lock = threading.RLock()

    def watched(name: str) -> Any:
        original = getattr(store, name)

        def request(self: Any, path: str, *args: Any) -> Any:
            with lock:
                if not busy:
                    busy.append(None)
                    asked.append(name)
                    do(len(asked))
                    busy.pop()
            return original(self, path, *args)

        return request

    with pytest.MonkeyPatch.context() as patch:
        for name in ("stat", "fetch", "fetch_version"):
            if hasattr(store, name):
                patch.setattr(store, name, watched(name))
        yield asked


def whole(source: Any) -> Any:
    return source.get_data()


def regions(source: Any) -> Any:
    return np.stack([source.get_data(region=index) for index in range(PLANES)])


def lazily(source: Any) -> Any:
    pytest.importorskip("dask")
    lazy = source.get_dask()
    return np.concatenate([lazy[:2].compute(), lazy[2:].compute()])


def elsewhere(source: Any) -> Any:
    """Each region by another process, as far as what travels is concerned."""
    source.version()
    return np.stack([pickle.loads(pickle.dumps(source)).get_data(region=i) for i in range(PLANES)])


READS = [whole, regions, lazily, elsewhere]


@pytest.mark.parametrize("read", READS)
def test_replaced_at_each_request_it_is_one_version_or_an_error(base, read):
    url = f"{base}/a.tif"
    put(url, ONE)
    with each_request(url, lambda _: None) as asked:
        assert read(cpr.ImageSource.from_path(url)).tolist() == np.full((PLANES, SIDE, SIDE), 1).tolist()
    outcomes = set()
    for at in range(1, len(asked) + 1):
        put(url, ONE, long_ago=True)
        replaced: list[int] = []

        def replace(number: int, at: int = at, replaced: list[int] = replaced) -> None:
            if number == at:
                put(url, TWO)
                replaced.append(at)

        source = cpr.ImageSource.from_path(url)
        with each_request(url, replace):
            try:
                found = np.unique(read(source)).tolist()
            except SourceChangedError as error:
                outcomes.add("error")
                assert error.url == source.url
                assert error.expected and error.actual and error.expected != error.actual
                assert "from_path" in error.remedy
                assert pickle.loads(pickle.dumps(error)).expected == error.expected
                continue
        if not replaced:  # of a file that was just written the version is asked for twice, if need be
            assert found == [1]
            continue
        assert found in ([1], [2])
        now = cpr.ImageSource.from_path(url).version()
        # What the source says of itself is what was read.
        assert (dict(source.version()) == dict(now)) == (found == [2])
        outcomes.add(found[0])
    assert 2 in outcomes  # replaced before the first request
    assert "error" in outcomes or read is whole


def test_a_whole_large_object_is_one_version(base):
    """Fetched in blocks ahead, several at a time."""
    url = f"{base}/a.txt"
    for at in range(1, 6):
        put(url, text_of(1), long_ago=True)

        def replace(number: int, at: int = at) -> None:
            if number == at:
                put(url, text_of(2))

        with each_request(url, replace):
            try:
                found = set(TextSource.from_path(url).get_data())
            except SourceChangedError:
                continue
        assert found in ({"1"}, {"2"})


def test_what_is_wrong_with_torn_bytes_is_that_they_are_torn(base):
    """Not that they are no image: the decoder's complaint is no more than a consequence."""
    url = f"{base}/a.tif"
    put(url, ONE)
    source = cpr.ImageSource.from_path(url)
    source.version()
    put(url, b"II*\0" + bytes(len(ONE) - 4))
    for read in (whole, regions):
        with pytest.raises(SourceChangedError):
            read(source)


def test_another_size(base):
    url = f"{base}/a.txt"
    put(url, b"long text")
    source = TextSource.from_path(url)
    assert source.get_data() == "long text"
    put(url, b"short")
    with pytest.raises(SourceChangedError) as caught:
        source.get_data()
    assert isinstance(caught.value, CprError)
    assert TextSource.from_path(url).get_data() == "short"


@pytest.mark.slow
def test_clean_reads_are_never_refused(base):
    read_clean(base, 100)


@pytest.mark.long
def test_a_thousand_clean_reads_are_never_refused(base):
    read_clean(base, 1000)


def read_clean(base: str, count: int) -> None:
    """Read what nobody changes, in each way in turn; a source new, of a glob, or sent, in turn."""
    url = f"{base}/a.tif"
    put(url, ONE, long_ago=True)
    kept = cpr.ImageSource.from_path(url)
    ways = [
        lambda: kept,
        lambda: cpr.ImageSource.from_path(url),
        lambda: pickle.loads(pickle.dumps(kept)),
        lambda: cpr.ImageSource.glob(f"{base}/*.tif")[0],
    ]
    pairs = itertools.cycle(itertools.product(READS, ways))
    for read, source in itertools.islice(pairs, count):
        assert np.array_equal(read(source()), np.full((PLANES, SIDE, SIDE), 1))


def test_a_clean_read_asks_no_more_than_it_did(base):
    url = f"{base}/a.txt"
    put(url, b"text")
    if base.startswith("/"):
        os.utime(url, (0, 0))  # of one that was just written the version is asked for twice
    with each_request(url, lambda _: None) as asked:
        TextSource.from_path(url).get_data()
    if base.startswith("sftp"):
        assert asked == ["stat", "stat", "fetch", "stat"]  # one of this very second is looked at twice
    elif base.startswith("memory"):
        assert asked == ["stat", "fetch", "stat"]  # there is no asking for a version
    else:
        assert asked == ["stat", "fetch_version"]


def test_records_do_not_carry_the_version_pickles_do(base):
    url = f"{base}/a.txt"
    put(url, b"one")
    source = TextSource.from_path(url)
    source.version()
    record = source.serialize()
    assert record == TextSource.from_path(url).serialize()
    sent = pickle.dumps(source)
    put(url, b"two")
    assert cpr.load(record).get_data() == "two"
    for same in (pickle.loads(sent), copy.copy(source), copy.deepcopy(source)):
        with pytest.raises(SourceChangedError):
            same.get_data()


def test_a_stored_list_of_sources_notices_a_replaced_file(base):
    """Whatever it was stored with: a key for an unpickled source asks the store."""
    url = f"{base}/a.txt"
    put(url, b"one")
    stored = pickle.dumps(TextSource.glob(f"{base}/*.txt"))
    before = cpr.hash_objects(pickle.loads(stored))
    assert cpr.hash_objects(pickle.loads(stored)) == before
    put(url, b"two")
    again = pickle.loads(stored)
    assert cpr.hash_objects(again) != before
    assert [one.get_data() for one in again] == ["two"]


def test_the_key_of_another_try_is_that_of_the_new_version(base):
    url = f"{base}/a.tif"
    put(url, ONE)
    source = cpr.ImageSource.from_path(url)
    first = cpr.hash_objects(source)
    assert source.get_metadata() is not None
    put(url, TWO)
    assert cpr.hash_objects(source) == first
    for _ in range(2):  # it stays so until a key is asked for
        with pytest.raises(SourceChangedError):
            source.get_data()
    assert cpr.hash_objects(source) != first
    assert np.unique(source.get_data()).tolist() == [2]


def test_two_writes_within_a_tick_of_the_file_system_s_clock(tmp_path):
    path = tmp_path / "a.txt"
    for _ in range(50):
        path.write_bytes(b"1" * 100)
        source = TextSource.from_path(path)
        source.version()
        path.write_bytes(b"2" * 100)
        with pytest.raises(SourceChangedError):
            source.get_data()


def test_two_writes_within_a_second_of_a_server_that_dates_by_seconds(sftp_url):
    url = f"{sftp_url}/a.txt"
    for versions in (lambda: TextSource.from_path(url), lambda: TextSource.glob(f"{sftp_url}/*.txt")[0]):
        time.sleep(1.02 - time.time() % 1)  # a second begins
        put(url, b"1" * 100)
        source = versions()
        source.version()
        put(url, b"2" * 100)
        with pytest.raises(SourceChangedError):
            source.get_data()


@pytest.mark.slow
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("read", READS)
def test_replaced_before_each_request_on_the_wire(s3_server, s3_url, monkeypatch, read, fast):
    """Every request that any client sends, not only those that cpr counts."""
    if not fast:
        monkeypatch.setattr("cpr.io.stores.s3_obstore.fast_bucket", lambda *_: None)
    url = f"{s3_url}/a.tif"
    bucket, key = url.removeprefix("s3://").split("/", 1)
    client = s3_server.client()
    with FaultProxy(s3_server.endpoint) as proxy:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, proxy.endpoint)
        client.put_object(Bucket=bucket, Key=key, Body=ONE)
        read(cpr.ImageSource.from_path(url))
        outcomes = set()
        for at in range(len(proxy.kinds)):
            client.put_object(Bucket=bucket, Key=key, Body=ONE)

            def replace(number: int, kind: str, at: int = at) -> None:
                if number == at:
                    client.put_object(Bucket=bucket, Key=key, Body=TWO)

            proxy.plan(replace)
            try:
                outcomes.add(tuple(np.unique(read(cpr.ImageSource.from_path(url)))))
            except SourceChangedError:
                outcomes.add("error")
        assert outcomes <= {(1,), (2,), "error"}
        assert (2,) in outcomes


@pytest.mark.parametrize("read", READS)
def test_a_file_that_is_written_over_where_it_is(tmp_path, read):
    path = tmp_path / "a.tif"
    path.write_bytes(ONE)
    source = cpr.ImageSource.from_path(path)
    source.version()
    with each_request(str(path), lambda _: None) as asked:
        read(source)
    for at in range(1, len(asked) + 1):
        path.write_bytes(ONE)

        def rewrite(number: int, at: int = at) -> None:
            if number == at:
                with open(path, "r+b") as file:
                    file.write(TWO)

        source = cpr.ImageSource.from_path(path)
        source.version()
        with each_request(str(path), rewrite), pytest.raises(SourceChangedError):
            read(source)


def test_a_store_that_says_more_than_it_has(base, monkeypatch):
    url = f"{base}/a.txt"
    put(url, b"0123456789")
    store = type(open_store(url)[0])
    for name in ("fetch", "fetch_version"):
        if (original := getattr(store, name, None)) is not None:
            monkeypatch.setattr(store, name, lambda *args, _original=original: _original(*args)[:5])
    with pytest.raises(TransferError, match="fewer bytes"):
        TextSource.from_path(url).get_data()


def test_the_preview_too(base):
    url = f"{base}/a.tif"
    put(url, ONE)
    source = cpr.ImageSource.from_path(url)
    assert source.preview() is not None
    put(url, TWO)
    with pytest.raises(SourceChangedError):
        source.preview()
