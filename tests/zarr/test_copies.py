"""Objects that stores copy by themselves: what is asked for, what is believed, and where it is used."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.io.copying import InsideCopies, can_copy
from cpr.zarr.copy import _send
from cpr.zarr.stores.manifest import manifest_url

DATA = np.random.default_rng(0).integers(1, 60_000, (6, 64, 96)).astype("uint16")
OPTIONS = {"chunks": (1, 64, 96), "compressors": None}
STORES = [pytest.param("s3_url", marks=pytest.mark.s3), pytest.param("gs_url", marks=pytest.mark.gcs)]


@pytest.fixture
def base(request):
    return request.getfixturevalue(request.param)


def digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("base", STORES, indirect=True)
@pytest.mark.parametrize("name", ["a", "a b+%25é~", "deep/er/a"])
def test_a_store_copies_what_is_equal(name, base):
    content = bytes(range(256)) * 40
    with io.writing(f"{base}/{name}.bin") as file:
        file.write(content)
    copies = InsideCopies(base)
    source, copy = f"{base}/{name}.bin", f"{base}/{name}-copy.bin"
    assert can_copy(source, copy)
    assert copies.copy(source, copy, digest(content), len(content))
    with io.reading(copy) as file:
        assert file.read() == content
    assert not copies.copy(source, f"{base}/other", digest(b"other"), len(content))
    assert io.lookup(f"{base}/other") is None
    assert not copies.copy(f"{base}/nothing", f"{base}/other", digest(content), len(content))


@pytest.mark.s3
def test_it_is_asked_no_more_after_failures_in_a_row(s3_url, caplog):
    with io.writing(f"{s3_url}/a") as file:
        file.write(b"content")
    copies = InsideCopies(s3_url)
    for _ in range(4):
        assert not copies.copy(f"{s3_url}/nothing", f"{s3_url}/b", digest(b"content"), 7)
    assert copies.copy(f"{s3_url}/a", f"{s3_url}/b", digest(b"content"), 7)
    for _ in range(5):
        assert not copies.copy(f"{s3_url}/nothing", f"{s3_url}/b", digest(b"content"), 7)
    assert copies.are_over
    assert not copies.copy(f"{s3_url}/a", f"{s3_url}/b", digest(b"content"), 7)
    assert len([record for record in caplog.records if "nothing more is copied" in record.message]) == 1


@pytest.mark.parametrize("base", STORES, indirect=True)
def test_a_second_result(base):
    first = cpr.ZarrTarget.from_path(f"{base}/cells.zarr", **OPTIONS)
    first.set_data(DATA)
    second = cpr.ZarrTarget.from_path(f"{base}/cells.zarr", base=first.persist(), **OPTIONS)
    second.set_data(DATA)
    assert second.persist().copied == DATA.nbytes
    assert second.verify() == len(DATA) + 1


@pytest.mark.s3
@pytest.mark.parametrize("options", [OPTIONS, {"chunks": (1, 64, 96), "shards": (6, 64, 96)}], ids=str)
def test_copy_to_another_place_of_the_store(options, s3_url, monkeypatch):
    monkeypatch.setattr("cpr.zarr.copy._SPAN", 32 << 10)
    target = cpr.ZarrTarget.from_path(f"{s3_url}/cells.zarr", **options)
    target.set_data(DATA)
    target.persist()
    sent = []
    monkeypatch.setattr("cpr.zarr.copy._send", lambda url, *rest: sent.append(url) or _send(url, *rest))
    twin = target.copy_to(f"{s3_url}/elsewhere")
    assert sent == [manifest_url(twin.url)]
    assert twin.verify() == target.verify()


@pytest.mark.s3
def test_a_copy_of_what_was_damaged_is_an_error(s3_url):
    target = cpr.ZarrTarget.from_path(f"{s3_url}/cells.zarr", **OPTIONS)
    target.set_data(DATA)
    target.persist()
    with io.writing(f"{target.url}/c/0/0/0") as file:
        file.write(bytes(DATA[0].nbytes))
    with pytest.raises(cpr.CorruptDataError):
        target.copy_to(f"{s3_url}/elsewhere")
    assert list(io.find(f"{s3_url}/elsewhere/.cpr/*", hidden=True)) == []


@pytest.mark.parametrize("compressors", ["zstd", "blosc", "gzip", None])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_encoders_give_the_same_bytes_for_the_same_data(compressors, zarr_format, tmp_path):
    """Or nothing would ever be equal."""
    written = []
    for name in "ab":
        target = cpr.ZarrTarget.from_path(
            tmp_path / f"{name}.zarr", chunks=(2, 64, 96), compressors=compressors, zarr_format=zarr_format
        )
        target.set_data(DATA)
        written.append(target.persist().data_hash)
    assert written[0] == written[1]
