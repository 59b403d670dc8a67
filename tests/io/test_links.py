"""Links on local disks that lead to themselves, to nothing, or where no file can be; names of any bytes."""

from __future__ import annotations

import json
import os
import warnings

import fsspec
import numpy as np
import pytest

import cpr
from cpr import io
from cpr.cli.app import run
from cpr.errors import CprError, TransferError
from cpr.operations.migrate import migrate
from tests.predecessor import written
from tests.servers.sftp import running_sftp


@pytest.fixture
def folder(tmp_path):
    """Two files, and links of all kinds; the second file is behind a link to a folder."""
    inside = tmp_path / "folder"
    (inside / "sub").mkdir(parents=True)
    for path in (inside / "a.npy", inside / "sub" / "b.npy"):
        np.save(path, np.arange(3))
    (inside / "self.npy").symlink_to("self.npy")
    (inside / "ring-1.npy").symlink_to("ring-2.npy")
    (inside / "ring-2.npy").symlink_to("ring-1.npy")
    (inside / "sub" / "up").symlink_to("..")
    (inside / "nothing.npy").symlink_to("gone.npy")
    (inside / "inside.npy").symlink_to("a.npy/x.npy")
    (inside / "long.npy").symlink_to("x" * 300)
    (inside / "link.npy").symlink_to("a.npy")
    return inside


ENDLESS = {"self.npy", "ring-1.npy", "ring-2.npy", "long.npy"}


def test_links_that_end_nowhere_hide_nothing_else(folder):
    names = {os.path.basename(url) for url in io.find(f"{folder}/*.npy")}
    assert names == {"a.npy", "link.npy", *ENDLESS}
    assert {os.path.basename(url) for url in io.find(f"{folder}/**")} >= names | {"b.npy"}


@pytest.mark.parametrize("name", sorted(ENDLESS))
def test_whoever_reads_a_link_without_an_end_is_told(name, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources = {source.get_name(): source for source in cpr.NumpySource.glob(f"{folder}/*.npy")}
    assert sources["a"].get_data().tolist() == [0, 1, 2]
    with pytest.raises(TransferError) as caught:
        sources[name.removesuffix(".npy")].get_data()
    assert name in caught.value.url
    assert caught.value.remedy


@pytest.mark.sftp
def test_links_without_an_end_hide_nothing_else_on_a_server(monkeypatch, tmp_path):
    place = tmp_path / "results"
    (place / "sub").mkdir(parents=True)
    for path in (place / "a.npy", place / "sub" / "b.npy"):
        np.save(path, np.arange(3))
    (place / "self.npy").symlink_to("self.npy")
    (place / "ring-1.npy").symlink_to("ring-2.npy")
    (place / "ring-2.npy").symlink_to("ring-1.npy")
    (place / "behind.npy").symlink_to("ring-1.npy/x.npy")
    (place / "nothing.npy").symlink_to("gone.npy")
    (place / "link.npy").symlink_to("sub/b.npy")
    (place / "ring").symlink_to("ring")
    (place / "up").symlink_to("..")
    endless = {"self.npy", "ring-1.npy", "ring-2.npy", "behind.npy"}
    with running_sftp(tmp_path) as server:
        monkeypatch.setitem(fsspec.config.conf, "sftp", server.options)
        url = f"{server.url}/results"
        found = {name.removeprefix(url + "/") for name in io.find(f"{url}/*.npy")}
        assert found == {"a.npy", "link.npy", *endless}
        deep = {name.removeprefix(url + "/") for name in io.find(f"{url}/**/*.npy")}
        assert deep == {*found, "sub/b.npy"}  # and nothing by way of a link to a folder
        for source in cpr.NumpySource.glob(f"{url}/*.npy"):
            if source.get_name() in ("a", "link"):
                assert source.get_data().tolist() == [0, 1, 2]
            else:
                with pytest.raises(CprError):
                    source.get_data()


def test_a_name_that_is_no_text_is_found_and_no_source(folder):
    """Records are JSON, in which it has no place."""
    name = os.fsdecode(b"\xff.npy")
    with open(folder / name, "wb") as file:
        np.save(file, np.arange(3))
    assert f"{folder}/{name}" in io.find(f"{folder}/*.npy")
    with pytest.raises(CprError, match="not a usable path"):
        cpr.NumpySource.glob(f"{folder}/*.npy")


def test_migrate_tells_of_links_without_an_end_and_goes_on(folder):
    data = json.dumps(written.numpy_target(folder, np.arange(12.0)))
    (folder / "record").write_text(json.dumps({"serializer": {}, "data": data, "prefect_version": "2.13.0"}))
    (folder / "loop").symlink_to("loop")
    (folder / "loop-0123456789abcdef.npy").symlink_to("loop-0123456789abcdef.npy")
    done = migrate(str(folder), write=True)
    assert f"{folder}/record" in {one.url for one in done.done}
    failed = {os.path.basename(one.url): one.error for one in done.failed}
    assert {"loop", "loop-0123456789abcdef.npy"} <= failed.keys()
    assert all(isinstance(error, TransferError) and error.remedy for error in failed.values())
    assert (folder / "record.cpr.json").exists()


COMMANDS = ["ls", "gc", "verify", "doctor", "migrate", "report -o {0}/report.html", "cp {0}/copy"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_tell_of_them_and_go_on(command, folder, tmp_path, capsys):
    target = cpr.NumpyTarget.from_path(folder / "result.npy")
    target.set_data(np.arange(4))
    (folder / "record").write_text(json.dumps(target.serialize()))
    (folder / "loop").symlink_to("loop")
    (folder / os.fsdecode(b"\xfe")).write_text("{}")
    name, *more = command.format(tmp_path).split()
    code = run([name, str(folder), *more])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    if name == "doctor":  # it looks at the place, not at what lies there
        assert code == 0
    else:
        assert f"{folder}/loop" in printed.out + printed.err
