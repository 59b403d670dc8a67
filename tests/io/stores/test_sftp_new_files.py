"""Files on SFTP servers that are to be new: of many that write one at the same time, one does."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager, suppress
from typing import Any

import asyncssh
import fsspec
import pytest

from cpr import io
from cpr.errors import TransferError
from cpr.io.objects import open_store
from cpr.io.stores.base import OccupiedError
from tests.servers.sftp import running_sftp

pytestmark = pytest.mark.sftp

_PROCESSES = 6
_ROUNDS = 15


class _NoLinks(asyncssh.SFTPServer):
    """A server that does not know the request for links."""

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("no links")


class _LinksAreRefused(asyncssh.SFTPServer):
    """A disk that has none."""

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPPermissionDenied("no links")


class _NothingIsNew(asyncssh.SFTPServer):
    """No file gets a name."""

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPFailure("a failure")

    rename = link


class _LateAnswers(asyncssh.SFTPServer):
    """What is done is done, and said to have failed."""

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        super().link(oldpath, newpath)
        raise asyncssh.SFTPFailure("a failure")


@contextmanager
def _server(folder, monkeypatch, files: Any):
    with running_sftp(folder, files) as server:
        monkeypatch.setitem(fsspec.config.conf, "sftp", server.options)
        yield f"{server.url}/new"


def _left(url: str) -> set[str]:
    """All that is in a folder, hidden files too, but for what vouches for blocks."""
    store, path = open_store(url)
    return {entry.url for entry in store.walk(path) if not entry.url.endswith(".blocks")}


def _race(options: dict[str, Any], url: str, number: int, together: Any, told: Any) -> None:
    """Write the same new files as others, each of which is about to be published when all are."""
    fsspec.config.conf["sftp"] = options
    for turn in range(_ROUNDS):
        writing = io.writing(f"{url}/{turn}.bin", create=True)
        file = writing.__enter__()
        file.write(bytes([number]) * (1000 + number))
        together.wait(60)
        try:
            writing.__exit__(None, None, None)
            told.put((turn, number))
        except OccupiedError:
            told.put((turn, None))
        together.wait(60)


@pytest.mark.parametrize("files", [asyncssh.SFTPServer, _NoLinks, _LinksAreRefused])
def test_of_many_processes_that_create_one_file_one_does(tmp_path, monkeypatch, files):
    with _server(tmp_path, monkeypatch, files) as url:
        context = multiprocessing.get_context("spawn")
        together, told = context.Barrier(_PROCESSES), context.Queue()
        options = fsspec.config.conf["sftp"]
        processes = [
            context.Process(target=_race, args=(options, url, number, together, told))
            for number in range(_PROCESSES)
        ]
        try:
            for process in processes:
                process.start()
            answers = [told.get(timeout=120) for _ in range(_PROCESSES * _ROUNDS)]
            for process in processes:
                process.join(60)
                assert process.exitcode == 0
        finally:
            for process in processes:
                process.kill()
                process.join()
        for turn in range(_ROUNDS):
            (winner,) = (number for at, number in answers if at == turn and number is not None)
            with io.reading(f"{url}/{turn}.bin") as arriving:
                assert arriving.read() == bytes([winner]) * (1000 + winner)
        assert _left(url) == {f"{url}/{turn}.bin" for turn in range(_ROUNDS)}


@pytest.mark.parametrize("files", [asyncssh.SFTPServer, _NoLinks, _LinksAreRefused])
@pytest.mark.parametrize("there", ["a file", "a folder", "a link to nothing"])
def test_a_name_that_was_taken_meanwhile_is_taken(tmp_path, monkeypatch, files, there):
    with _server(tmp_path, monkeypatch, files) as url:
        writing = io.writing(f"{url}/a.bin", create=True)
        writing.__enter__().write(b"late")
        name = tmp_path / "new" / "a.bin"
        if there == "a file":
            name.write_bytes(b"first")
        elif there == "a folder":
            name.mkdir()
        else:
            name.symlink_to("nothing")
        with pytest.raises(OccupiedError):
            writing.__exit__(None, None, None)
        assert [path.name for path in (tmp_path / "new").iterdir() if path.name != ".cpr"] == ["a.bin"]
        assert there != "a file" or name.read_bytes() == b"first"
        assert name.is_symlink() == (there == "a link to nothing")


def test_a_file_that_gets_no_name_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    with _server(tmp_path, monkeypatch, _NothingIsNew) as url:
        with pytest.raises(TransferError), io.writing(f"{url}/a.bin", create=True) as file:
            file.write(b"x")
        with suppress(FileNotFoundError):
            assert not _left(url)


def test_one_that_is_said_to_have_failed_and_did_not_is_nobody_elses(tmp_path, monkeypatch):
    """Whoever asks again finds equal content there."""
    with _server(tmp_path, monkeypatch, _LateAnswers) as url:
        with pytest.raises(OccupiedError), io.writing(f"{url}/a.bin", create=True) as file:
            file.write(b"x")
        assert _left(url) == {f"{url}/a.bin"}
        assert (tmp_path / "new" / "a.bin").read_bytes() == b"x"
