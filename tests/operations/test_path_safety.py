"""Nothing that a listing or a record names leads out of where a command was sent; what is skipped is told."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cpr
from cpr import io
from cpr.errors import CprError, RecordError, TransferError
from cpr.io.objects import open_store
from cpr.io.stores.base import Entry
from cpr.io.stores.listings import Page
from cpr.operations.cp import copy_results
from cpr.operations.gc import collect
from cpr.operations.ls import list_results
from cpr.operations.path_safety import is_below, leads_out, moved, require_inside
from cpr.operations.scan import find_records
from cpr.operations.verify import heal, verify
from tests.servers.sftp import running_sftp
from tests.stored_flow import prefect_record, put, store

STEPS = st.lists(
    st.one_of(
        st.sampled_from(
            ["..", ".", "", "a", "...", "C:", "\\", "..\\..", "~", "x::y", "\u202e", "\n", "c:x"]
        ),
        st.text(max_size=5),
    ),
    max_size=6,
)


@given(STEPS)
def test_what_moves_stays_inside(steps):
    for old, new in (("s3://bucket/results", "/archive/to"), ("/data/results", "s3://bucket/to")):
        url = "/".join([old, *steps])
        try:
            place = moved(url, old, new)
        except CprError:
            continue
        assert io.normalise(place).rstrip("/") == place
        assert is_below(place, new)
        assert ".." not in place.split("/")


@given(STEPS)
def test_what_is_listed_is_inside_or_refused(steps):
    folder = "s3://bucket/results"
    url = "/".join([folder, *steps])
    if leads_out(url, folder) is None:
        assert not {".", ".."} & set(url.split("/"))


def snapshot(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A results folder whose listing names, as that of a bucket may, what is elsewhere."""
    from cpr.io.stores.local import LocalStore

    done = store(f"{tmp_path}/shared/results", ("small", "table"))
    (tmp_path / "a" / "b" / "archive").mkdir(parents=True)
    (tmp_path / "a" / "victim.json").write_text("precious")
    record = Path(done.records["small"]).read_bytes()
    names = [
        "records/../../../../victim.json", "../../victim.json", "records/x/../../../../../a/victim.json",
        "records/./x", "records//x",
        "data/../../a/victim-0123456789abcdef.npy",
        "records\\..\\..\\..\\v.json",
    ]  # fmt: skip
    walk, pages, fetch = LocalStore.walk, LocalStore.pages, LocalStore.fetch

    def with_names(self, path):
        yield from walk(self, path)
        if path.rstrip("/") == done.url:
            for entry in list(walk(self, done.records["small"].rpartition("/")[0]))[:1]:
                for name in names:
                    yield Entry(f"{done.url}/{name}", entry.modified, len(record))

    def with_pages(self, path):
        yield from pages(self, path)
        for entry in list(with_names(self, path)):
            if any(entry.url.endswith(f"/{name}") for name in names):
                yield Page("", [entry.url], [entry.nbytes], [entry.modified.timestamp()], [""])

    def anything(self, path, start, stop):
        return (
            record[start:stop]
            if any(path.endswith(name) for name in names)
            else fetch(self, path, start, stop)
        )

    monkeypatch.setattr(LocalStore, "walk", with_names)
    monkeypatch.setattr(LocalStore, "pages", with_pages)
    monkeypatch.setattr(LocalStore, "fetch", anything)
    return done


def test_a_copy_stays_below_its_destination(bucket, tmp_path):
    outside = snapshot(tmp_path / "a")
    result = copy_results(bucket.url, f"{tmp_path}/a/b/archive")
    assert {
        path: blob for path, blob in snapshot(tmp_path / "a").items() if "/archive/" not in path
    } == outside
    assert (result.targets, result.records) == (2, 3)
    assert len(result.failed) == 7
    for one in result.failed:
        assert isinstance(one.error, RecordError)
        assert "leads out" in one.error.problem


def test_other_commands_tell_and_touch_nothing(bucket, tmp_path):
    before = snapshot(tmp_path)
    told = [problem.problem for problem in list_results(bucket.url).problems]
    assert told == ["the name leads out of the folder that was listed"] * 6
    report = verify(bucket.url)
    assert len(report.damage) == 6
    assert heal(bucket.url, report) == []
    with pytest.raises(CprError, match="not every record"):
        collect([bucket.url], delete=True)
    collect([bucket.url], without_unreadable=True, delete=True)
    assert snapshot(tmp_path) == before


def test_links_out_of_a_destination_are_not_followed(tmp_path):
    done = store(f"{tmp_path}/from", ("small", "chunks"))
    (tmp_path / "outside").mkdir()
    for link in ("records", "data"):
        for target in (tmp_path / "outside", tmp_path / "nowhere"):
            destination = tmp_path / f"to-{link}-{target.name}"
            destination.mkdir()
            (destination / link).symlink_to(target)
            result = copy_results(done.url, str(destination))
            assert result.failed
            assert any(
                isinstance(one.error, TransferError) and "link" in str(one.error) for one in result.failed
            )
    assert list((tmp_path / "outside").iterdir()) == []
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "to" / "data").mkdir(parents=True)
    (tmp_path / "to" / "data" / ".cpr").symlink_to(tmp_path / "outside")
    assert copy_results(done.url, f"{tmp_path}/to").failed
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_destination_may_be_a_link_itself(tmp_path):
    done = store(f"{tmp_path}/from", ("small",))
    (tmp_path / "disk").mkdir()
    (tmp_path / "to").symlink_to(tmp_path / "disk")
    assert not copy_results(done.url, f"{tmp_path}/to").failed
    require_inside(f"{tmp_path}/to/x", f"{tmp_path}/to")


@pytest.mark.sftp
def test_a_collection_stops_at_a_link_to_a_folder_on_a_server(tmp_path, monkeypatch):
    """The records behind it may be of what is here."""
    (tmp_path / "elsewhere").mkdir()
    with running_sftp(tmp_path) as server:
        monkeypatch.setitem(fsspec.config.conf, "sftp", server.options)
        done = store(f"{server.url}/run", ("small", "table"))
        (tmp_path / "run" / "linked").symlink_to("../elsewhere")
        io.remove(done.flow)
        record = tmp_path / done.records["small"].removeprefix(f"{server.url}/")
        record.rename(tmp_path / "elsewhere" / record.name)
        for path in [*tmp_path.rglob("*")]:
            os.utime(path, (1e9, 1e9))
        with pytest.raises(CprError, match="not every record"):
            collect([done.url], delete=True)
        assert not [one for one in tmp_path.rglob("*") if "marked" in one.parts and one.is_file()]
        assert done.targets["small"].get_data().size
        assert "linked" in {entry.url.rpartition("/")[2] for entry in open_store(done.url)[0].walk("/run")}


def test_a_collection_marks_and_deletes_nothing_through_links(tmp_path):
    done = store(f"{tmp_path}/run", ("small", "table"))
    other = store(f"{tmp_path}/other", ("image",))
    io.remove(done.flow)
    io.remove(done.records["small"])
    for path in [*tmp_path.rglob("*")]:
        os.utime(path, (1e9, 1e9))
    (tmp_path / "run" / "linked").symlink_to(tmp_path / "other")
    with pytest.raises(CprError, match="not every record"):
        collect([done.url])  # what is there may refer to anything
    assert [one.url for one in collect([done.url], without_unreadable=True).marked] == [
        done.targets["small"].url
    ]
    (tmp_path / "run" / "linked").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "data" / ".cpr").mkdir(exist_ok=True)
    (tmp_path / "run" / "data" / ".cpr" / "marked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CprError, match="link"):
        collect([done.url], delete=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert other.targets["image"].get_data().size


def make(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        import socket

        here = os.getcwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)
    else:
        path.symlink_to({"loop": path, "dangling": f"{path}x"}.get(kind, kind))


def within(seconds: float, function):
    """What a function raises or returns, if it does so in time."""
    found = []

    def call() -> None:
        try:
            found.append(function())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it hangs"
    return found[0]


KINDS = ["pipe", "folder", "socket", "loop", "dangling", "/dev/zero", "/dev/null", "/proc/self/mem"]


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices")
@pytest.mark.parametrize("kind", KINDS)
def test_only_files_are_opened(tmp_path, kind):
    target = cpr.NumpyTarget.from_path(f"{tmp_path}/data/a.npy")
    target.set_data(np.arange(12))
    record = target.serialize()
    os.unlink(target.url)
    make(kind, Path(target.url))
    for read in (
        lambda: cpr.load(record).get_data(),
        lambda: cpr.load(record).check(),
        lambda: cpr.load(record).check(full=True),
        lambda: cpr.NumpySource.from_path(target.url).get_data(),
    ):
        assert isinstance(within(5, read), CprError)


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "stdout"])
def test_only_files_are_replaced_and_deleted(tmp_path, kind, capsys):
    """As root, `-o /dev/null` would leave a machine without one."""
    from cpr.cli.app import run

    done = store(f"{tmp_path}/run", ("small",))
    odd = tmp_path / "odd" / "name"
    odd.parent.mkdir()
    if kind == "stdout":
        odd.symlink_to("/proc/self/fd/1")
    elif kind != "device":
        make(kind, odd)
    elif os.geteuid() == 0:
        try:
            os.mknod(odd, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("making a device needs CAP_MKNOD")
    else:
        pytest.skip("making a device needs root")
    before = os.lstat(odd)
    for change in (
        *([lambda: io.remove(str(odd))] if kind != "stdout" else []),  # a link may go
        lambda: io.writing(str(odd)).__enter__(),
        lambda: run(["report", done.url, "-o", str(odd)]),
        lambda: run(["export", done.url, "--ro-crate", "abababab", "-o", str(odd)]),
        lambda: run(["cp", done.url, str(odd)]),
    ):
        found = within(20, change)
        assert isinstance(found, TransferError) or found in (2, 3), found
        after = os.lstat(odd)
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert list(odd.parent.iterdir()) == [odd]
    capsys.readouterr()


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_among_records_is_told(tmp_path, kind):
    done = store(str(tmp_path), ("small",))
    make(kind, tmp_path / "records" / "odd")
    found = within(5, lambda: list(find_records(str(tmp_path))))
    assert not isinstance(found, BaseException), found
    assert {done.flow, *done.records.values()} <= {one.url for one in found}
    odd = [one for one in found if one.url.endswith("odd")]
    assert all(isinstance(one.problem, TransferError) for one in odd)


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_pipes_in_place_of_what_is_beside(tmp_path):
    target = cpr.NumpyTarget.from_path(f"{tmp_path}/a.npy")
    target.set_data(np.arange(400_000))
    record = target.serialize()
    beside = Path(f"{io.sidecar_url(target.url, '.blocks')}")
    beside.unlink()
    os.mkfifo(beside)
    found = within(5, lambda: cpr.load(record).get_data(region=np.s_[3:5]))
    assert isinstance(found, TransferError)
    assert "pipe" in found.problem
    zarr = cpr.ZarrTarget.from_path(f"{tmp_path}/z.zarr")
    zarr.set_data(np.arange(12))
    record = zarr.serialize()
    chunk = Path(zarr.url) / "c" / "0"
    chunk.unlink()
    os.mkfifo(chunk)
    assert isinstance(within(5, lambda: cpr.load(record).get_data()[:]), CprError)


def test_a_report_is_written_where_it_is_told(tmp_path, capsys):
    from cpr.cli.app import run

    done = store(f"{tmp_path}/run", ("small",))
    assert run(["report", done.url, "-o", "memory://reports/a.html"]) == 0
    with io.reading("memory://reports/a.html") as file:
        assert b"<!doctype html>" in file.read()
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "folder", "/proc/nowhere/a.html", f"{tmp_path}/run/records/{0:032x}/x.html"):
        assert run(["report", done.url, "-o", str(place)]) == 3
    capsys.readouterr()


def test_records_of_a_stranger_name_only_places_that_are_plain(tmp_path):
    for location in (f"{tmp_path}/../x", "/data//x", "s3://b/a/../c", "C:\\x", "file:///x", "~/x"):
        record = {
            "type": "NumpyTarget", "location": location, "name": "a", "ext": ".npy", "key": "0" * 16,
            "data_hash": "1" * 16, "checksum": "xxh3_128:" + "2" * 32, "nbytes": 3,
        }  # fmt: skip
        put(f"{tmp_path}/records/a", prefect_record(json.loads(json.dumps({"__cpr__": record}))))
        (found,) = find_records(f"{tmp_path}/records")
        assert found.targets == ()
        assert found.problems


def linked_out(folder: Path, outside: Path) -> Path:
    """A link where a folder below another would be."""
    outside.mkdir(exist_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(outside)
    return folder


@pytest.mark.parametrize("steps", ["", "c", "c/0", "../.cpr"])
def test_a_copied_zarr_writes_through_no_link_inside_its_destination(tmp_path, steps):
    done = store(f"{tmp_path}/from", ("chunks",))
    name = io.split(done.targets["chunks"].url)[1]
    linked_out(Path(os.path.normpath(tmp_path / "to" / "data" / name / steps)), tmp_path / "outside")
    result = copy_results(done.url, f"{tmp_path}/to")
    assert {one.kind for one in result.failed} == {"target", "record"}
    assert any("link" in str(one.error) for one in result.failed)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("kind", ["small", "large", "chunks"])
@pytest.mark.parametrize("link", ["data", "data/.cpr", "file"])
def test_a_crate_writes_through_no_link(tmp_path, kind, link):
    from cpr.operations.crate import export_crate

    done = store(f"{tmp_path}/from", (kind,))
    if (kind != "large" and link == "data/.cpr") or (link == "file" and kind == "chunks"):
        pytest.skip("nothing is written there")
    (tmp_path / "crate").mkdir()
    if link == "file":
        victim = tmp_path / "victim"
        victim.write_bytes(b"precious")
        (tmp_path / "crate" / "data").mkdir()
        (tmp_path / "crate" / "data" / io.split(done.targets[kind].url)[1]).symlink_to(victim)
        (tmp_path / "crate" / "workflow.json").symlink_to(victim)
        export_crate(done.url, "abab", f"{tmp_path}/crate", data=True)
        assert victim.read_bytes() == b"precious"
        assert not any(path.is_symlink() for path in (tmp_path / "crate").rglob("*"))
        return
    linked_out(tmp_path / "crate" / link, tmp_path / "outside")
    with pytest.raises(TransferError, match="link leads out"):
        export_crate(done.url, "abab", f"{tmp_path}/crate", data=True)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_migration_writes_through_no_link(tmp_path):
    from cpr.operations.migrate import migrate

    outside = tmp_path / "outside"
    outside.mkdir()
    data = np.arange(6)
    target = cpr.NumpyTarget.from_path(f"{tmp_path}/a.npy")
    target.set_data(data)
    np.save(outside / f"a-{target.data_hash}.npy", data)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "linked").symlink_to(outside)
    before = snapshot(outside)
    for write in (False, True):
        found = migrate(f"{tmp_path}/results", write=write)
        assert [str(one.error.problem) for one in found.failed] == [
            "a link leads out of the place that was given"
        ]
        assert found.done == []
    assert snapshot(outside) == before
    assert len(migrate(str(outside), write=True).done) == 1


def test_hard_links_at_a_destination_keep_what_else_has_them(tmp_path):
    done = store(f"{tmp_path}/from", ("small", "chunks"))
    copy_results(done.url, f"{tmp_path}/to")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    files = [path for path in (tmp_path / "to").rglob("*") if path.is_file()]
    for path in files:
        path.unlink()
        os.link(victim, path)
    copy_results(done.url, f"{tmp_path}/to")
    assert victim.read_bytes() == b"precious"


def test_confined_writes_stay_where_they_are_sent(tmp_path):
    from cpr.io.confinement import writing_only_below
    from cpr.io.objects import remove_folder, remove_many
    from cpr.io.parallel_map import parallel_map

    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        put(f"{tmp_path}/{name}/kept", b"1")
        put(f"{tmp_path}/{name}/gone", b"1")
        put(f"{tmp_path}/{name}/deep/gone", b"1")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in" / "deep")
    (tmp_path / "given").symlink_to(tmp_path / "in")
    outside = snapshot(tmp_path / "out")
    base = f"{tmp_path}/given"

    def change(place: str) -> None:
        put(f"{place}/a/b/new", b"2")
        put(f"{place}/kept", b"2")
        io.remove(f"{place}/gone")
        remove_folder(f"{place}/deep")

    with writing_only_below(base):
        for action in (
            lambda: put(f"{base}/link/a/b/new", b"2"),
            lambda: put(f"{base}/link/kept", b"2"),
            lambda: put(f"{tmp_path}/out/kept", b"2"),
            lambda: io.remove(f"{base}/link/gone"),
            lambda: remove_many([f"{base}/link/gone"]),
            lambda: remove_folder(f"{base}/link/deep"),
            lambda: list(parallel_map(lambda place: put(place, b"2"), [f"{base}/link/kept"], 2)),
        ):
            with pytest.raises(TransferError, match="link leads out"):
                action()
        assert snapshot(tmp_path / "out") == outside
        put(f"{base}/self/new", b"2")  # a link that stays inside
        change(base)
    assert (tmp_path / "in" / "a" / "b" / "new").read_bytes() == b"2"
    assert not (tmp_path / "in" / "gone").exists()
    change(f"{tmp_path}/out")  # it is forbidden no more


@pytest.mark.skipif(os.name != "posix", reason="Windows has no descriptors of folders")
def test_a_link_that_is_put_in_the_way_meanwhile_is_not_followed(tmp_path):
    from cpr.io.confinement import writing_only_below
    from cpr.io.stores.local import LocalUpload

    (tmp_path / "outside").mkdir()
    place = tmp_path / "to" / "data"
    with writing_only_below(f"{tmp_path}/to"):
        upload = LocalUpload(f"{place}/a")
        upload.write(memoryview(b"content"))
        place.rename(tmp_path / "to" / "moved")
        place.symlink_to(tmp_path / "outside")
        upload.commit()
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "to" / "moved" / "a").read_bytes() == b"content"
