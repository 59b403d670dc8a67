"""Servers and filesystems that say a file is stored which is not there, or not whole: an error says so."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Self

import asyncssh
import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec.registry import _registry as registered
from fsspec.spec import AbstractFileSystem

import cpr
from cpr import io
from cpr.errors import TransferError
from cpr.io import protocols
from cpr.io.stores.fsspec import FsspecStore
from tests.servers.sftp import running_sftp

KINDS = {
    "small": (cpr.NumpyTarget, "a.npy", np.arange(300)),
    "with digests of its blocks": (cpr.NumpyTarget, "a.npy", np.arange(200_000)),
    "streamed": (cpr.ImageTarget, "a.tif", np.ones((3, 40, 50), "uint8")),
    "table": (cpr.CSVTarget, "a.csv", pd.DataFrame({"a": range(500)})),
    "zarr": (cpr.ZarrTarget, "a.zarr", np.arange(4000).reshape(40, 100)),
}
SFTP_FAULTS = ("half of each write", "no write", "nothing is renamed", "a rename cuts", "a rename loses")
FILE_FAULTS = ("files take less", "files take nothing", "close cuts")
STORES = [
    *(pytest.param("sftp", fault, marks=pytest.mark.sftp) for fault in SFTP_FAULTS),
    *(("raw", fault) for fault in SFTP_FAULTS + FILE_FAULTS),
]


class Server:
    """How it misbehaves, if it does."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.fault: str | None = None


class RawFile:
    """A file without a buffer, as Python has them: it says how much it has taken."""

    def __init__(self, path: str, state: Server) -> None:
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - it is a file itself
        self._state = state

    def write(self, data: bytes) -> int:
        fault = self._state.fault
        if fault == "files take nothing":
            return 0
        if fault in ("half of each write", "no write"):
            self._file.write(data[: len(data) // 2 if fault != "no write" else 0])
            return len(data)
        return self._file.write(data[: max(1, len(data) // 2)] if fault == "files take less" else data)

    def close(self) -> None:
        if self._state.fault == "close cuts" and not self._file.closed:
            self._file.truncate(self._file.tell() // 2)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawFileSystem(AbstractFileSystem):
    """Local files under another protocol, through files without a buffer."""

    protocol = "raw"
    cachable = False
    state = Server()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("raw://").strip("/")

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        return RawFile(path, self.state) if mode == "wb" else open(path, mode)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        os.makedirs(path, exist_ok=exist_ok)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        found = os.stat(path)
        kind = "directory" if os.path.isdir(path) else "file"
        return {"name": path, "size": found.st_size, "type": kind, "mtime": found.st_mtime}

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        found = [self.info(os.path.join(path, name)) for name in os.listdir(path)]
        return found if detail else [one["name"] for one in found]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return Path(path).read_bytes()[start:end]

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        rename(self.state.fault, path1, path2)

    def rm_file(self, path: str) -> None:
        os.unlink(path)


def rename(fault: str | None, old: Any, new: Any) -> None:
    if fault == "nothing is renamed":
        return
    if fault == "a rename loses":
        os.unlink(old)
        return
    os.replace(old, new)
    if fault == "a rename copies":
        os.utime(new, (time.time() + 10,) * 2)
    if fault == "a rename cuts":
        os.truncate(new, os.path.getsize(new) // 2)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    fsspec.register_implementation("raw", RawFileSystem, clobber=True)
    monkeypatch.setitem(protocols._table, "raw", protocols.StorageKind(("raw",)))
    RawFileSystem.state = Server(f"raw:/{tmp_path}")
    yield RawFileSystem.state
    registered.pop("raw", None)


@pytest.fixture
def sftp(tmp_path, monkeypatch):
    state = Server()

    class Files(asyncssh.SFTPServer):
        def write(self, file_obj: Any, offset: int, data: bytes) -> int:
            if state.fault in ("half of each write", "no write"):
                super().write(file_obj, offset, data[: len(data) // 2 if state.fault != "no write" else 0])
                return len(data)
            return super().write(file_obj, offset, data)

        def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
            rename(state.fault, self.map_path(oldpath), self.map_path(newpath))

        def link(self, oldpath: bytes, newpath: bytes) -> None:
            if state.fault not in ("nothing is renamed", "a rename loses"):
                super().link(oldpath, newpath)
            if state.fault == "a rename cuts":
                os.truncate(self.map_path(newpath), os.path.getsize(self.map_path(newpath)) // 2)

    with running_sftp(tmp_path, Files) as server:
        monkeypatch.setitem(fsspec.config.conf, "sftp", server.options)
        state.url = server.url
        yield state


def filled(kind: str, base: str):
    cls, name, data = KINDS[kind]
    target = cls.from_path(f"{base}/{name}")
    if kind == "streamed":
        target.set_data(iter(data), shape=data.shape, dtype=data.dtype)
    else:
        target.set_data(data)
    return target


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("store", "fault"), STORES)
def test_no_result_is_published_that_is_not_there(store, kind, fault, request):
    state = request.getfixturevalue(store)
    state.fault = fault
    try:
        target = filled(kind, state.url).persist()
    except TransferError:
        assert fault != "files take less" or kind == "zarr"  # whose own writes ask no file what it has taken
    else:
        state.fault = None
        target.check(full=True)
        if target.blocks is not None:
            with io.verified(target.url, target.nbytes, target.blocks) as file:
                file.check_digests()
    state.fault = None
    target = filled(kind, state.url).persist()
    target.check(full=True)


@pytest.mark.parametrize(("store", "fault"), STORES)
def test_what_was_there_stays_until_all_of_the_new_one_is(store, fault, request, tmp_path):
    """Of equal size too: that a name has an object says nothing of whose it is."""
    state = request.getfixturevalue(store)
    before, after = b"before" * 5000, b"after!" * 5000
    url = f"{state.url}/a.bin"
    with io.writing(url) as file:
        file.write(before)
    os.utime(tmp_path / "a.bin", (time.time() - 60,) * 2)
    state.fault = fault
    try:
        with io.writing(url) as file:
            file.write(after)
    except TransferError:
        pass
    else:
        assert fault == "files take less"
    found = (tmp_path / "a.bin").read_bytes()
    if fault == "files take less":
        assert found == after
    elif fault == "a rename cuts":
        assert found == after[: len(after) // 2]  # nobody can prevent that; it was told
    else:
        assert found == before


@pytest.mark.parametrize("store", [pytest.param("sftp", marks=pytest.mark.sftp), "raw"])
def test_a_server_that_copies_in_place_of_a_rename_is_believed(store, request):
    """The copy is of a later time than what was written, which is no sign that it is another."""
    state = request.getfixturevalue(store)
    state.fault = "a rename copies"
    for data in (b"before", b"after!"):
        with io.writing(f"{state.url}/a.bin") as file:
            file.write(data)
        with io.reading(f"{state.url}/a.bin") as file:
            assert file.read() == data


@pytest.mark.s3
@pytest.mark.parametrize("nbytes", [0, 1000, 20 << 20])
def test_files_that_are_held_back(nbytes, s3_url):
    """As of object stores that cpr has no store of its own for; here of one that it has."""
    store, path = FsspecStore.open(f"{s3_url}/a.bin")
    upload = store.upload(path)
    assert type(upload).__name__ == "_HeldBackUpload"
    for start in range(0, nbytes, 1 << 20):
        upload.write(memoryview(bytes(min(1 << 20, nbytes - start))))
    assert store.stat(path) is None
    upload.commit()
    assert store.stat(path).nbytes == nbytes
    wrong = store.upload(path)
    wrong.write(memoryview(b"1234"))
    wrong._nbytes += 1  # as if the store had kept less
    with pytest.raises(OSError, match="NotWhatWasWritten"):
        wrong.commit()
