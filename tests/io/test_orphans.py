"""What killed processes leave is found and removed, and nothing else is."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from cpr import io
from cpr.errors import ResourceNotFoundError, TransferError
from cpr.io.block_digests import SMALL_BYTES, blocks_url
from cpr.io.filesystems import filesystem
from cpr.io.objects import open_store
from cpr.io.stores.base import modified_time

MiB = 1 << 20
NOW = timedelta(0)


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


def write(url: str, nbytes: int = 10) -> None:
    with io.writing(url) as file:
        file.write(bytes(nbytes))


def abandoned(url: str, nbytes: int):
    """An upload that nobody ends; the same object as a killed process has open."""
    store, path = open_store(url)
    upload = store.upload(path)
    upload.write(memoryview(os.urandom(nbytes)))
    for part in getattr(upload, "_parts", []):
        part.result()
    return upload


def everything(base: str) -> set[str]:
    store, path = open_store(base)
    return {entry.url for entry in store.walk(path)}


def test_nothing_is_so_old(tmp_path):
    write(f"{tmp_path}/.cpr/gone.tif.blocks")
    assert len(io.find_orphans(str(tmp_path), timedelta(0))) == 1
    for span in (timedelta(days=365 * 3000), timedelta.max):
        assert io.find_orphans(str(tmp_path), span) == io.remove_orphans(str(tmp_path), span) == []


def test_objects_and_their_digests_are_no_orphans(base):
    write(f"{base}/a.bin")
    write(f"{base}/deep/er/b.bin", SMALL_BYTES + 1)
    write(f"{base}/.hidden.bin")
    write(f"{base}/.cpr/notes.txt")
    write(f"{base}/some.blocks")
    before = everything(base)
    assert io.find_orphans(base, NOW) == []
    assert io.remove_orphans(base, NOW) == []
    assert everything(base) == before


def test_digests_whose_object_never_came_are_orphans(base):
    write(f"{base}/deep/a.bin", SMALL_BYTES + 1)
    write(f"{base}/deep/b.bin", SMALL_BYTES + 1)
    io.remove(f"{base}/deep/a.bin")
    (orphan,) = io.find_orphans(base, NOW)
    assert orphan.url == blocks_url(f"{base}/deep/a.bin")
    # A digest for each block; behind them stores that keep checksums have theirs noted.
    assert orphan.nbytes == io.stat(orphan.url).nbytes >= 6 * 16
    assert orphan.upload is None
    assert io.remove_orphans(base, NOW) == [orphan]
    assert everything(base) == {f"{base}/deep/b.bin", blocks_url(f"{base}/deep/b.bin")}


def test_digests_of_a_folder_that_is_there_are_no_orphans(base):
    """Whatever is kept beside something that is made of many objects."""
    write(f"{base}/a.zarr/0/0")
    write(f"{base}/.cpr/a.zarr.blocks")
    assert io.find_orphans(base, NOW) == []


def test_what_is_young_is_left_alone(base):
    write(blocks_url(f"{base}/a.bin"))
    assert io.find_orphans(base) == []
    assert io.remove_orphans(base, timedelta(hours=1)) == []
    assert len(io.find_orphans(base, NOW)) == 1


def test_a_folder_that_does_not_exist_holds_none(base):
    assert io.find_orphans(f"{base}/nothing/here") == []
    assert io.remove_orphans(f"{base}/nothing/here", NOW) == []


def test_only_below_the_folder(base):
    for folder in ("a", "ab", "a/b"):
        write(blocks_url(f"{base}/{folder}/x.bin"))
    found = io.find_orphans(f"{base}/a", NOW)
    assert [one.url for one in found] == [blocks_url(f"{base}/{folder}/x.bin") for folder in ("a", "a/b")]


def test_local_temporary_files(tmp_path):
    long_name = "n" * 200 + ".bin"
    uploads = [abandoned(str(tmp_path / "deep" / name), MiB) for name in ("a.bin", long_name)]
    write(str(tmp_path / "deep" / "whole.bin"))
    (tmp_path / ".a.bin.part").write_text("somebody else's")
    (tmp_path / "a.0123456789abcdef.part").write_text("somebody else's")
    assert io.find_orphans(tmp_path) == []
    found = io.find_orphans(tmp_path, NOW)
    assert [(one.url, one.nbytes) for one in found] == [
        (str(tmp_path / "deep" / one._temporary), MiB) for one in uploads
    ]
    for one in found:
        os.utime(one.url, (0, 0))
    assert io.find_orphans(f"file://{tmp_path}")[0].modified == datetime.fromtimestamp(0, UTC)
    assert [one.url for one in io.remove_orphans(tmp_path)] == [one.url for one in found]
    assert sorted(os.listdir(tmp_path / "deep")) == ["whole.bin"]
    assert sorted(os.listdir(tmp_path)) == [".a.bin.part", "a.0123456789abcdef.part", "deep"]
    for upload in uploads:
        upload.abort()


def test_temporary_files_of_zarr(tmp_path):
    """In the folders of results alone: another program's Zarr is no affair of cpr's."""
    name = f"0.{uuid.uuid4().hex}.partial"
    for folder in ("ours.zarr/c/0", "theirs.zarr/c/0", "ours.zarr.more/c/0"):
        write(str(tmp_path / folder / name))
        write(str(tmp_path / folder / "0"))
    write(blocks_url(str(tmp_path / "ours.zarr")))
    assert io.find_orphans(tmp_path) == []
    assert [one.url for one in io.remove_orphans(tmp_path, NOW)] == [str(tmp_path / "ours.zarr/c/0" / name)]
    assert io.find_orphans(tmp_path, NOW) == []
    assert len(io.find(f"{tmp_path}/**")) == 5


def test_a_folder_that_may_not_be_listed_is_an_error(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may list everything")
    (tmp_path / "closed").mkdir(mode=0)
    try:
        with pytest.raises(TransferError, match="no permission to list"):
            io.find_orphans(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)


@pytest.mark.real_s3
def test_open_uploads(s3_url, open_uploads):
    uploads = [abandoned(f"{s3_url}/deep/{name}.bin", 20 * MiB) for name in "aab"]
    write(f"{s3_url}/deep/whole.bin", 20 * MiB)
    assert io.find_orphans(s3_url) == []
    assert io.find_orphans(f"{s3_url}/dee", NOW) == []
    found = io.find_orphans(s3_url, NOW)
    assert [one.url.rpartition("/")[2] for one in found] == ["a.bin", "a.bin", "b.bin"]
    assert {one.upload for one in found} == {upload._upload_id for upload in uploads}
    assert {one.nbytes for one in found} == {16 * MiB}
    age = datetime.now(UTC) - found[0].modified
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert len(open_uploads()) == 3
    assert io.remove_orphans(s3_url, NOW) == found
    assert open_uploads() == []
    assert io.remove_orphans(s3_url, NOW) == []
    assert io.stat(f"{s3_url}/deep/whole.bin").nbytes == 20 * MiB


@pytest.mark.real_s3
def test_an_upload_that_ends_meanwhile_is_no_error(s3_url, monkeypatch):
    from cpr.io import orphans

    upload = abandoned(f"{s3_url}/a.bin", 20 * MiB)
    found = io.find_orphans(s3_url, NOW)
    assert len(found) == 1
    upload.commit()
    monkeypatch.setattr(orphans, "find_orphans", lambda *_: found)
    assert io.remove_orphans(s3_url, NOW) == found
    assert io.stat(f"{s3_url}/a.bin").nbytes == 20 * MiB


@pytest.mark.real_s3
def test_an_upload_that_is_written_to_is_young(s3_url):
    """What counts is the last part, not the beginning."""
    import time

    upload = abandoned(f"{s3_url}/a.bin", 9 * MiB)
    time.sleep(1.5)
    started = datetime.now(UTC)
    upload.write(memoryview(bytes(8 * MiB)))
    upload._parts[1].result()
    (orphan,) = io.find_orphans(s3_url, NOW)
    assert orphan.modified >= started - timedelta(seconds=1)
    upload.abort()


@pytest.mark.s3
def test_a_missing_bucket():
    with pytest.raises(ResourceNotFoundError, match="no such bucket"):
        io.find_orphans(f"s3://cpr-{uuid.uuid4().hex}/results")


@pytest.mark.parametrize(
    "info",
    [
        {"mtime": 0},
        {"mtime": 0.0},
        {"LastModified": datetime(1970, 1, 1, tzinfo=UTC)},
        {"created": datetime(1970, 1, 1)},  # noqa: DTZ001 - what memory:// once gave
        {"updated": "1970-01-01T00:00:00Z"},
    ],
)
def test_times_as_filesystems_tell_them(info):
    assert modified_time(info) == datetime.fromtimestamp(0, UTC)


def test_a_filesystem_that_tells_no_time_has_only_young_files():
    assert datetime.now(UTC) - modified_time({"name": "a"}) < timedelta(seconds=5)


def test_temporary_files_of_other_filesystems():
    """Those without commit() of their own get a hidden name, as local ones do."""
    url = f"memory://{uuid.uuid4().hex}"
    fs, path = filesystem(url)
    fs.pipe_file(f"{path}/.a.bin.0123456789abcdef.part", b"half")
    (orphan,) = io.find_orphans(url, NOW)
    assert orphan.nbytes == 4
    assert io.remove_orphans(url, NOW) == [orphan]
    assert everything(url) == set()
