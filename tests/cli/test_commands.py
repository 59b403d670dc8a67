"""What each command prints, as text and as JSON, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from cpr import io
from cpr.cli.app import run
from tests.stored_flow import get, put, store

FORTY_DAYS = 40 * 86400


@pytest.fixture
def cpr_command(capsys):
    """cpr_command(...): exit code, what was printed, and what on stderr."""

    def call(*arguments: str):
        code = run(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def results(tmp_path):
    return store(str(tmp_path / "run"))


def flip(url: str) -> None:
    blob = bytearray(get(url))
    blob[-1] ^= 1
    put(url, bytes(blob))


def test_ls(cpr_command, results):
    code, out, err = cpr_command("ls", results.url)
    assert (code, err) == (0, "")
    for kind, target in results.targets.items():
        (line,) = (line for line in out.splitlines() if f"/{kind}-" in line)
        assert f"make_{kind}" in line
        assert io.split(target.url)[1] in line
    assert "5 targets, 1.5 MiB, in 6 records." in out
    assert out.index("make_chunks") < out.index("make_small")  # newest first


def test_ls_json(cpr_command, results):
    code, out, _ = cpr_command("ls", results.url, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["targets"], found["records"], len(found["newest"])) == (5, 6, 5)
    assert found["runs"][0]["flow"] == "analyse"
    assert found["newest"][0]["when"].startswith("2026-")


def test_ls_most_and_runs(cpr_command, results):
    _, out, _ = cpr_command("ls", results.url, "--limit", "2")
    assert "3 older targets not shown" in out
    assert "make_small" not in out
    _, out, _ = cpr_command("ls", "--runs", results.url)
    assert "analyse" in out
    assert "ab" * 16 in out


def test_ls_of_targets_alone(cpr_command, results):
    code, out, _ = cpr_command("ls", f"{results.url}/data")
    assert code == 0
    assert out.count("no record") >= 5
    # With what lies beside them.
    assert re.search(r"^5 targets, 1\.\d MiB, that no record here names\.$", out, re.MULTILINE)


def test_ls_names_what_is_unreadable_and_goes_on(cpr_command, results):
    put(f"{results.url}/records/bad", '{"__cpr__": ')
    code, out, _ = cpr_command("ls", results.url)
    assert code == 1
    assert "unreadable" in out
    assert "5 targets" in out


@pytest.mark.parametrize("command", ["ls", "verify", "lineage"])
def test_nothing_there(cpr_command, tmp_path, command):
    code, out, _ = cpr_command(command, str(tmp_path / "nothing"))
    assert code == 3
    assert out


def test_show(cpr_command, results):
    code, out, _ = cpr_command("show", results.url, "image")
    assert code == 0
    assert "make_image" in out
    assert results.targets["image"].checksum in out
    code, out, _ = cpr_command("show", results.records["table"])
    assert code == 0
    assert re.search(r"^a +b$", out, re.MULTILINE)
    code, out, _ = cpr_command("show", results.records["table"], "--json")
    (found,) = json.loads(out)
    assert found["made"]["task"] == "make_table"
    assert found["state"] == "there"
    io.remove(results.targets["small"].url)
    code, out, _ = cpr_command("show", results.url, "small")
    assert code == 1
    assert "gone" in out
    code, _, err = cpr_command("show", results.targets["image"].url)
    assert code == 3
    assert "no record" in err
    code, _, err = cpr_command("show", results.url, "nobody")
    assert code == 3


def test_pictures():
    import numpy as np

    import cpr
    from cpr.operations.show import preview_of, show, shrunk
    from tests.stored_flow import prefect_record

    for name, shape, dtype in (
        ("plane", (300, 400), "uint16"),
        ("stack", (3, 30, 40), "float32"),
        ("rgb", (30, 40, 3), "uint8"),
        ("flat", (5, 5), "uint8"),
    ):
        target = cpr.ImageTarget.from_path(f"memory://pictures/{name}.tif")
        target.set_data(np.arange(np.prod(shape)).reshape(shape).astype(dtype) * (name != "flat"))
        put(f"memory://pictures/records/{name}", prefect_record(target.serialize()))
        (shown,) = show(f"memory://pictures/records/{name}")
        pixels = shrunk(preview_of(shown), 64, 48)
        assert pixels.dtype == "uint8"
        assert pixels.shape[2] == 3
        assert pixels.shape[0] <= 48
        assert pixels.shape[1] <= 64
        assert name == "flat" or pixels.max() == 255


def test_verify(cpr_command, results):
    code, out, _ = cpr_command("verify", results.url)
    assert code == 0
    assert "5 targets intact of 5 read" in out
    flip(results.targets["image"].url)
    io.remove(results.targets["small"].url)
    code, out, _ = cpr_command("verify", results.url)
    assert code == 1
    assert "damaged" in out
    assert "missing" in out
    assert results.targets["image"].url in out
    assert "--heal" in out
    code, out, _ = cpr_command("verify", results.url, "--heal", "--json")
    found = json.loads(out)
    assert code == 1
    assert set(found["dropped"]) == {results.records["image"], results.records["small"]}
    assert {one["state"] for one in found["wrong"]} == {"damaged", "missing"}
    assert {one["error"]["error"] for one in found["wrong"]} == {"CorruptDataError", "ResourceNotFoundError"}


def test_verify_a_sample(cpr_command, results):
    code, out, _ = cpr_command("verify", results.url, "--sample", "100%")
    assert code == 0
    assert "5 of 5 targets" in out
    for text in ("0", "101", "many"):
        code, _, err = cpr_command("verify", results.url, "--sample", text)
        assert code == 2
        assert "5%" in err


def test_gc(cpr_command, results):
    io.remove(results.records["small"])
    io.remove(results.flow)
    for folder, _, names in os.walk(results.url):
        for name in names:
            path = os.path.join(folder, name)
            os.utime(path, (os.stat(path).st_mtime - FORTY_DAYS,) * 2)
    code, out, _ = cpr_command("gc", results.url)
    assert code == 0
    assert "would be marked" in out
    assert "Nothing was touched" in out
    code, out, _ = cpr_command("gc", results.url, "--delete", "--json", "--older-than", "60d")
    assert code == 0
    assert len(json.loads(out)["marked"]) == 1
    code, out, _ = cpr_command("gc", results.url)
    assert "1 target marked earlier, waiting" in out
    for arguments in (["--grace", "1m"], ["--grace", "soon"], ["--older-than", "3"]):
        assert cpr_command("gc", results.url, *arguments)[0] in (2, 3)


def test_cp(cpr_command, results, tmp_path):
    code, out, _ = cpr_command("cp", results.url, str(tmp_path / "copy"))
    assert code == 0
    assert "5 targets and 6 records are at" in out
    assert cpr_command("verify", str(tmp_path / "copy"))[0] == 0
    flip(results.targets["image"].url)
    code, out, _ = cpr_command("cp", results.url, str(tmp_path / "other"), "--json")
    assert code == 1
    assert {one["kind"] for one in json.loads(out)["failed"]} == {"target", "record"}


def test_doctor(cpr_command, tmp_path):
    code, out, _ = cpr_command("doctor", str(tmp_path), "--mib", "1")
    assert code == 0
    assert f"{tmp_path} is fit for results of cpr." in out
    code, out, _ = cpr_command("doctor", str(tmp_path), "--mib", "0", "--json")
    assert json.loads(out)["is_fit"] is True
    (tmp_path / "file").touch()
    code, out, _ = cpr_command("doctor", str(tmp_path / "file"), "--mib", "0")
    assert code == 1
    assert "remedy:" in out
    assert "not fit" in out


def test_errors_name_problem_and_remedy(cpr_command):
    code, out, err = cpr_command("ls", "nowhere://bucket")
    assert (code, out) == (3, "")
    assert "no such protocol" in err
    assert "remedy" in err
    code, out, err = cpr_command("ls", "nowhere://bucket", "--json")
    assert code == 3
    assert json.loads(out)["problem"] == "no such protocol"


def test_wrong_command_lines(cpr_command):
    assert cpr_command("gc")[0] == 2
    assert cpr_command("nothing")[0] == 2
    assert cpr_command("--help")[0] == 0
    assert cpr_command("--version") == (0, "cpr 0.1.0\n", "")


def test_as_a_program(results):
    command = [sys.executable, "-m", "cpr", "ls", results.url]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "5 targets" in listed.stdout
    # Who has read enough is no error.
    pipe = subprocess.run(
        f"{' '.join(command)} --json | head -c 10", shell=True, capture_output=True, text=True, check=True
    )
    assert pipe.stderr == ""


# Not pydantic: typer imports that itself.
HEAVY = "prefect pandas numpy zarr dask s3fs gcsfs obstore tifffile rich.progress"


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"], ["ls", "URL"], ["verify", "--help"]])
def test_what_is_imported_to_start(results, arguments):
    arguments = [results.url if one == "URL" else one for one in arguments]
    code = (
        "import sys\nfrom cpr.cli.app import run\n"
        f"assert run({arguments!r}) == 0\n"
        f"print('HEAVY', [m for m in {HEAVY!r}.split() if m in sys.modules], len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    last = done.stdout.splitlines()[-1]
    assert "[]" in last, last
    assert int(last.split()[-1]) < 700


def chain_of(place: str, length: int, width: int = 1) -> None:
    """Records of results each of which was made from the one before, and of others made from the last."""
    from tests.stored_flow import prefect_record

    def url(at: int) -> str:
        return f"{place}/data/step{at}-{at:016x}.npy"

    records = []
    for at in range(length + width):
        before = min(at, length) - 1
        inputs = {"before": f"NumpyTarget {'0' * 16} {url(before)}"} if at else {}
        records.append(
            {
                "__cpr__": {
                    "type": "NumpyTarget",
                    "location": f"{place}/data",
                    "name": f"step{at}",
                    "ext": ".npy",
                    "key": f"{at:016x}",
                    "data_hash": "1" * 16,
                    "checksum": "xxh3_128:" + "2" * 32,
                    "nbytes": 3,
                    "made": {"task": "step", "at": 1_790_000_000 + at, "inputs": inputs},
                }
            }
        )
    put(f"{place}/records/all", prefect_record(records))


def test_lineage_grows_with_the_chain_and_not_with_its_square(cpr_command, tmp_path):
    sizes = []
    for length in (200, 400, 800):
        chain_of(f"{tmp_path}/{length}", length)
        code, out, _ = cpr_command("lineage", f"{tmp_path}/{length}/records")
        assert code == 0
        assert all(f"/step{at}-" in out for at in range(length))
        assert max(map(len, out.splitlines())) < 300
        sizes.append(len(out))
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


def test_lineage_of_many_that_share_their_origin(cpr_command, tmp_path):
    chain_of(str(tmp_path), 50, 100)
    code, out, _ = cpr_command("lineage", f"{tmp_path}/records")
    assert code == 0
    assert out.count("(see above)") == 99
    assert len(out.splitlines()) < 500


@pytest.mark.parametrize("command", ["gc", "cp", "verify"])
def test_who_interrupts_is_told_what_was_done(cpr_command, results, tmp_path, monkeypatch, command):
    from cpr.operations import cp, gc, verify

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if command == "gc":
        monkeypatch.setattr(gc, "to_mark", stop)
        code, out, _ = cpr_command("gc", results.url)
    elif command == "cp":
        monkeypatch.setattr(cp, "_copy_record", stop)
        code, out, _ = cpr_command("cp", results.url, str(tmp_path / "copy"))
    else:

        def two_of(work, items, _):
            for _, item in zip(range(2), items, strict=False):
                yield work(item)
            stop()

        monkeypatch.setattr(verify, "parallel_map", two_of)
        code, out, _ = cpr_command("verify", results.url)
    assert code == 130
    assert "Interrupted" in out
    expected = {
        "gc": "6 records in use; 5 targets here, 5 in use.",
        "cp": "5 targets and 0 records are at",
        "verify": "2 targets intact of 2 read",
    }
    assert expected[command] in out


def test_without_a_url_it_is_where_prefect_keeps_results(cpr_command, results):
    from prefect.settings import (
        PREFECT_DEFAULT_RESULT_STORAGE_BLOCK,
        PREFECT_LOCAL_STORAGE_PATH,
        temporary_settings,
    )

    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: f"{results.url}/records"}):
        for command in (["ls"], ["ls", "--runs"], ["lineage"], ["verify"]):
            code, out, err = cpr_command(*command)
            assert (code, err) == (0, "")
            assert "5 targets" in out or "5 resources" in out or "analyse" in out
        code, out, _ = cpr_command("show", results.targets["image"].url, "--no-picture")
        assert code == 0
        assert "make_image" in out
    with temporary_settings({PREFECT_DEFAULT_RESULT_STORAGE_BLOCK: "no-such-type/block"}):
        code, _, err = cpr_command("ls")
        assert code == 3
        assert "PREFECT_DEFAULT_RESULT_STORAGE_BLOCK" in err


def test_urls_of_prefects_storage():
    from types import SimpleNamespace

    from prefect.filesystems import LocalFileSystem, RemoteFileSystem

    from cpr.prefect.result_storage import url_of_storage

    class S3Bucket(SimpleNamespace):
        pass

    class GcsBucket(SimpleNamespace):
        pass

    assert url_of_storage(RemoteFileSystem(basepath="s3://bucket/records")) == "s3://bucket/records"
    assert url_of_storage(LocalFileSystem(basepath="/data")) == "/data"
    assert url_of_storage(S3Bucket(bucket_name="b", bucket_folder="x/")) == "s3://b/x"
    assert url_of_storage(S3Bucket(bucket_name="b", bucket_folder="")) == "s3://b"
    assert url_of_storage(GcsBucket(bucket="b", bucket_folder=None)) == "gs://b"
    assert url_of_storage(SimpleNamespace()) is None
