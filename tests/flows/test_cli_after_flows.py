"""The command line on what a real flow has left: seen elsewhere, damaged, healed, copied, explained."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from prefect import flow

import cpr
from cpr import io
from cpr.cli.app import run
from cpr.operations.verify import heal, verify
from tests.stored_flow import get, put

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


@cpr.task
def image(number: int, out: str) -> cpr.ImageTarget:
    target = cpr.ImageTarget.from_path(f"{out}/image{number}.tif")
    target.set_data(np.random.default_rng(number).integers(0, 200, (64, 64), "uint8"))
    return target


@cpr.task
def large(out: str) -> cpr.NumpyTarget:
    target = cpr.NumpyTarget.from_path(f"{out}/large.npy")
    target.set_data(np.random.default_rng(0).random(200_000))
    return target


@cpr.task
def chunks(source: cpr.ImageTarget, out: str) -> cpr.ZarrTarget:
    target = cpr.ZarrTarget.from_path(f"{out}/chunks.zarr", chunks=(16, 16))
    target.set_data(source.get_data())
    return target


@cpr.task
def table(source: cpr.ImageTarget, threshold: float, out: str) -> tuple[cpr.CSVTarget, int]:
    target = cpr.CSVTarget.from_path(f"{out}/{source.get_name()}.csv")
    target.set_data(pd.DataFrame({"mean": [source.get_data().mean()], "above": [threshold]}))
    return target, 1


@flow(persist_result=True, result_serializer=cpr.cpr_serializer())
def analyse(out: str, threshold: float = 1.0) -> list:
    images = [image(number, out) for number in range(6)]
    tables = [table(one, threshold, out)[0] for one in images[:2]]
    return [*images, *tables, large(out), chunks(images[0], out)]


def flip(url: str) -> None:
    blob = bytearray(get(url))
    blob[len(blob) // 2] ^= 4
    put(url, bytes(blob))


DAMAGE = {
    "image0": flip,
    "image1": lambda url: put(url, get(url)[:-7]),
    "image2": lambda url: put(url, get(url) + b"!"),
    "image3": io.remove,
    "image4": lambda url: put(url, b""),
    "large": flip,
}


def test_each_kind_of_damage_is_found_and_healed_by_the_next_run(counted, results, tmp_path):
    out = str(tmp_path / "out")
    configured = analyse.with_options(result_storage=results)
    made, _ = counted(configured, out)
    urls = {target.get_name(): target.url for target in made if target.ext in (".tif", ".npy", ".zarr")}
    before = {target.url: target.data_hash for target in made}
    assert verify(str(results)).intact == len(made)
    put(urls["image5"], get(urls["image0"]))  # swapped
    put(f"{urls['chunks']}/c/1/2", get(f"{urls['chunks']}/c/2/1"))
    for name, damage in DAMAGE.items():
        damage(urls[name])
    report = verify(str(results))
    assert {one.url for one in report.damage} == {*urls.values()}
    assert len(heal(str(results), report)) == len(urls)
    again, states = counted(configured, out)
    assert states["image"]["Completed"] == 6
    assert states["large"]["Completed"] == states["chunks"]["Completed"] == 1
    assert states["table"]["Cached"] == 2  # equal inputs again
    assert {target.data_hash for target in again} == set(before.values())
    after = verify(str(results))
    # A Zarr has a new name each time: the result of the first run still names the old one.
    assert {one.url for one in after.damage} == {urls["chunks"]}
    for target in again:
        assert target.get_data() is not None


def test_results_of_a_flow_that_ran_elsewhere(counted, results, tmp_path, capsys):
    """All that is known here is the URL: another process, without Prefect's server or home."""
    out = str(tmp_path / "out")
    made, _ = counted(analyse.with_options(result_storage=results), out)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "CPR_"))
    }

    def command(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cpr", *arguments],
            capture_output=True,
            text=True,
            env={**environment, "HOME": str(tmp_path)},
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    listed = json.loads(command("ls", str(results), "--json"))
    assert listed["targets"] == len(made)
    assert {one["task"] for one in listed["newest"]} == {"image", "large", "chunks", "table"}
    assert listed["runs"][0]["flow"] == "analyse"
    assert "64" in command("show", str(results), "image0")
    assert f"{len(made)} targets intact" in command("verify", str(results))
    tree = command("lineage", str(results), "chunks")
    assert "by chunks(" in tree
    assert "image0-" in tree.splitlines()[2]
    command("cp", str(results), str(tmp_path / "copy"))
    assert f"{len(made)} targets intact" in command("verify", str(tmp_path / "copy"))
    flip(made[0].url)
    assert "damaged" in command("verify", str(results), code=1)


def test_why(counted, results, tmp_path, capsys):
    out = str(tmp_path / "out")
    configured = analyse.with_options(result_storage=results)
    counted(configured, out)
    counted(configured, out, threshold=2.5)
    capsys.readouterr()
    assert run(["why", str(results), "image1.csv"]) == 3
    capsys.readouterr()
    assert run(["why", str(results), "image1", "--json"]) == 0
    found = {one["url"]: one["words"] for one in json.loads(capsys.readouterr().out)}
    words = [one for url, one in found.items() if url.endswith(".csv")]
    assert ["threshold: 1.0 -> 2.5"] in words


def test_copied_records_are_hits_at_the_new_place(counted, results, tmp_path):
    out = str(tmp_path / "out")
    made, _ = counted(analyse.with_options(result_storage=results), out)
    assert run(["cp", str(results), str(tmp_path / "new"), "--data", str(tmp_path / "pixels")]) == 0
    again, states = counted(analyse.with_options(result_storage=tmp_path / "new"), out)
    assert states["image"]["Cached"] == 6
    assert all(str(tmp_path / "pixels") in target.url for target in again if target.ext == ".tif")
    assert {target.data_hash for target in again} == {target.data_hash for target in made}
