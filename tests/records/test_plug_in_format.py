"""A format from outside of cpr: an installed package with an entry point, through every command.

What a plug-in's author writes is all there is of it: nothing of cpr is edited, patched or imported here, and
every step is a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

METADATA = """Metadata-Version: 2.1
Name: spectra-for-cpr
Version: 1.0
"""

ENTRY_POINTS = """[cpr.resources]
SpectrumTarget = spectra:SpectrumTarget
SpectrumSource = spectra:SpectrumSource
"""

MODULE = '''
from dataclasses import dataclass
from hashlib import blake2b
from struct import error, iter_unpack, pack

import cpr


@dataclass(frozen=True)
class Spectrum:
    """Numbers, each as 8 bytes."""

    extensions = (".spc",)
    instrument: str = "unknown"

    def fingerprint(self, data):
        return blake2b(repr(data).encode(), digest_size=8).hexdigest()

    def encode(self, data, file):
        file.write(b"SPC1" + b"".join(pack("<d", number) for number in data))

    def decode(self, file):
        try:
            if file.read(4) != b"SPC1":
                raise cpr.DecodeError("not a spectrum", remedy="restore it")
            return [number for number, in iter_unpack("<d", file.read())]
        except error as problem:
            raise cpr.DecodeError("a spectrum that was cut", remedy="restore it") from problem


@cpr.register
class SpectrumTarget(cpr.Target):
    format_class = Spectrum


@cpr.register
class SpectrumSource(cpr.Source):
    format_class = Spectrum
'''


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Of processes in which the plug-in is installed, as an installer leaves it."""
    installed = tmp_path_factory.mktemp("installed")
    (installed / "spectra.py").write_text(MODULE)
    about = installed / "spectra_for_cpr-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    cpr_folder = str(Path(__file__).parents[2])
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("CPR_")},
        "PYTHONPATH": os.pathsep.join((str(installed), cpr_folder)),
    }


@pytest.fixture
def run(environment, tmp_path):
    """run(...): what a new Python process printed."""

    def call(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture
def results(run, tmp_path) -> Path:
    """A folder with the record of a spectrum, and another spectrum that no record names."""
    folder = tmp_path / "results"
    run(
        "-c",
        f"""
import json, spectra
for name in ("kept", "unrecorded"):
    target = spectra.SpectrumTarget.from_path("{folder}/data/" + name + ".spc", instrument="LTQ")
    target.set_data([1.5, 2.5, float(len(name))])
    record = target.serialize()
    if name == "kept":
        open("{folder}/record.json", "w").write(json.dumps(record))
""",
    )
    return folder


def test_a_new_process_reads_what_another_wrote(run, results):
    """Only the record tells it which package to import."""
    code = "import cpr; print(cpr.load('results/record.json').get_data())"
    assert run("-c", code).strip() == "[1.5, 2.5, 4.0]"
    assert "SpectrumSource" in run(
        "-c",
        "import cpr, glob; from spectra import SpectrumSource\n"
        "print(cpr.load(SpectrumSource.glob('results/data/*.spc')[0].serialize()))",
    )


def test_ls_knows_its_files_with_and_without_records(run, results):
    listing = json.loads(run("-m", "cpr", "ls", "results", "--json"))
    assert (listing["targets"], listing["unrecorded"], listing["problems"]) == (1, 1, [])
    assert sorted(one["type"] or "" for one in listing["newest"]) == ["", "SpectrumTarget"]
    assert json.loads(run("-m", "cpr", "ls", "results/data", "--json"))["unrecorded"] == 2


def test_show(run, results):
    (shown,) = json.loads(run("-m", "cpr", "show", "results/record.json", "--json"))
    assert (shown["type"], shown["state"]) == ("SpectrumTarget", "there")
    assert shown["options"] == {"instrument": "LTQ"}


def test_verify_finds_what_is_damaged(run, results):
    run("-m", "cpr", "verify", "results")
    (stored,) = (results / "data").glob("kept-*.spc")
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    assert "kept" in run("-m", "cpr", "verify", "results", code=1)


def test_cp_and_report(run, results):
    run("-m", "cpr", "cp", "results", "copied")
    shutil.rmtree(results)
    run("-m", "cpr", "verify", "copied")
    run("-m", "cpr", "report", "copied", "-o", "report.html")
    assert "kept-" in (results.parent / "report.html").read_text()


def test_gc_collects_what_no_record_names(run, results):
    for _ in range(2):  # marks first, deletes what was marked a grace period ago
        for path in results.rglob("*"):
            os.utime(path, (time.time() - 86400,) * 2)
        run("-m", "cpr", "gc", "results", "--grace", "1h", "--delete")
    assert [path.name[:5] for path in (results / "data").glob("*.spc")] == ["kept-"]
