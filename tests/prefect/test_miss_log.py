"""Runs that are not cached say why, results know where they come from, and neither costs a run anything."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import prefect
import pytest
from prefect.filesystems import RemoteFileSystem
from pydantic import SecretStr

import cpr
from cpr.operations.why import explain
from cpr.prefect import miss_log as misses
from cpr.provenance.inputs_journal import read_journal
from cpr.provenance.why_not_reused import render_all
from tests.text_format import TextTarget

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]

FLOW = """
import os
from typing import Literal

import cpr
import prefect
from prefect.cache_policies import TASK_SOURCE
from tests.text_format import TextSource, TextTarget

SIGMA = 2


def smooth(text):
    return text * 1


@cpr.task(cache_result_in_memory=False)
def denoise(image, gain, method: Literal["otsu", "li"] = "otsu", api_key="none"):
    target = TextTarget.from_path(f"{FOLDER}/denoised/{image.get_name()}.txt")
    text = smooth(image.get_data()) * SIGMA
    target.set_data(f"{text} {gain} {method}")
    return target


@prefect.task(cache_key_fn=cpr.task_input_hash, cache_result_in_memory=False)
def plain(image, gain):
    target = TextTarget.from_path(f"{FOLDER}/plain/{image.get_name()}.txt")
    target.set_data(f"{image.get_data()} {gain}")
    return [target, image]


@prefect.flow(persist_result=True, result_serializer=cpr.cpr_serializer())
def analyse(gain=1.5, **more):
    targets = [denoise(image, gain, **more) for image in TextSource.glob(f"{FOLDER}/raw/*.txt")]
    return targets, [plain(target, gain)[0] for target in targets]
"""


@pytest.fixture(autouse=True)
def many_reads(monkeypatch):
    """The tests of one process are more flow runs a minute than journals are read for."""
    monkeypatch.setattr(misses, "_MOST_READS", 1000)


class Lab:
    """A flow in a module of its own, which can be edited; and what its runs say."""

    def __init__(self, folder, storage, monkeypatch):
        self.folder, self.storage = folder, storage
        self.module = folder / "lab.py"
        self.text = FLOW
        self.lines = []
        monkeypatch.setattr(misses, "_FIRST_WAIT", 0.05)
        for name in "ab":
            self.put(name, name)

    def put(self, name, text):
        with cpr.io.writing(f"{self.folder}/raw/{name}.txt") as file:
            file.write(text.encode())

    def run(self, **parameters):
        """The flow's result, and its lines about what was not cached, sorted."""
        self.module.write_text(f"FOLDER = {str(self.folder)!r}\n" + self.text)
        spec = importlib.util.spec_from_file_location("lab", self.module)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with heard() as lines:
            result = module.analyse.with_options(result_storage=self.storage)(**parameters)
            misses.drain(20)
        return result, sorted(lines)

    def edit(self, old, new):
        assert old in self.text
        self.text = self.text.replace(old, new)


@contextlib.contextmanager
def heard():
    """The lines of task runs' logs that say why they were not cached."""
    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("not cached: "):
                assert record.levelno == logging.INFO
                lines.append(record.getMessage().removeprefix("not cached: "))

    logger, handler = logging.getLogger("prefect.task_runs"), Handler()
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def lab(tmp_path, results, prefect_server, monkeypatch):
    lab = Lab(tmp_path, results, monkeypatch)
    assert lab.run()[1] == []  # there is nothing to compare with
    return lab


def test_reasons(lab):
    assert lab.run()[1] == []  # cached
    followed = [f"image: {name}.txt has other content; gain: 1.5 -> 2.5" for name in "ab"]
    assert lab.run(gain=2.5)[1] == sorted(["gain: 1.5 -> 2.5"] * 2 + followed)
    assert lab.run()[1] == []
    assert lab.run(method="li")[1] == sorted(
        ['method: "otsu" -> "li"'] * 2 + ["image: a.txt has other content", "image: b.txt has other content"]
    )
    lab.put("a", "changed")
    (denoised, plain), lines = lab.run()
    assert lines[0] == "image: a.txt has other content"
    assert re.fullmatch(r"source a\.txt: (size 1 -> 7 bytes|mtime ns changed)", lines[1])
    assert len(lines) == 2
    os.remove(denoised[0].url)
    assert lab.run()[1] == ["result was missing"]
    os.remove(plain[1].url)
    assert lab.run()[1] == ["result was missing"]
    lab.edit('f"{text} {gain} {method}"', 'f"{text} {gain} {method} "[:-1]')
    line = lab.module.read_text().splitlines().index('    target.set_data(f"{text} {gain} {method}")') + 1
    assert lab.run()[1] == [f"task source changed at line {line}"] * 2
    lab.edit("SIGMA = 2", "SIGMA = 3")
    assert "SIGMA: 2 -> 3" in lab.run()[1]
    lab.edit("text * 1", "text * 2")
    _, lines = lab.run()
    line = lab.module.read_text().splitlines().index("    return text * 2") + 1
    assert f"smooth changed (line {line})" in lines


def test_secrets_are_in_nothing_that_is_kept(lab):
    canary = "canary-4711"
    lab.edit("image, gain, method", "image, gain, secret, text, method")
    (targets, _), _ = lab.run(secret=SecretStr(canary), text=f"about {canary}", api_key=canary)
    made = targets[0].get_made()
    assert (made.inputs["secret"].type, made.inputs["api_key"].type) == ("secret", "secret")
    assert set(made.inputs) == {"image", "gain", "secret", "text", "method", "api_key"}
    kept = [path for path in lab.folder.rglob("*") if path.is_file()]
    assert len(kept) > 8
    journal = "".join(json.dumps(m.to_json()) for one in read_journal(str(lab.storage)) for m in one.made)
    assert "denoise" in journal
    for content in (journal, *(path.read_text("latin-1") for path in kept)):
        assert canary not in content


def test_results_know_where_they_come_from(lab):
    (denoised, plain), _ = lab.run(gain=2.5)
    made = denoised[0].get_made()
    assert (made.task, made.flow) == ("denoise", "analyse")
    assert made.cpr == cpr.__version__
    assert abs(made.at - time.time()) < 120
    assert made.inputs["image"].url == f"{lab.folder}/raw/a.txt"
    assert (made.inputs["gain"].value, made.inputs["method"].value) == (2.5, "otsu")
    assert made.uses["SIGMA"].value == 2
    with prefect.get_client(sync_client=True) as client:
        assert client.read_flow_run(made.flow_run).name
    assert (lab.storage / made.key).exists() or made.key is None
    of_plain = plain[0].get_made()
    assert (of_plain.task, of_plain.inputs["image"].url) == ("plain", denoised[0].url)
    # A cached run keeps what was said first, and so does a target that is passed on.
    (again, plain_again), _ = lab.run(gain=2.5)
    assert [one.get_made() for one in again] == [stored(one) for one in denoised]
    assert plain_again[0].get_made() == stored(plain[0])


def stored(target):
    """What a record tells; one with a long URL leaves to Prefect's what that tells as well."""
    return cpr.load(target.serialize()).get_made()


def test_runs_that_were_told_to_run_again_are_not_explained(lab):
    lab.edit("cpr.task(cache", "cpr.task(refresh_cache=True, cache")
    lab.run()
    assert lab.run()[1] == []


def test_without_a_flow(tmp_path, results, prefect_server):
    @cpr.task(result_storage=results)
    def store(n):
        target = TextTarget.from_path(tmp_path / "a.txt")
        target.set_data(str(n))
        return target

    with heard() as lines:
        assert store(1).made.flow is None
        store(2)
        misses.drain(20)
    assert lines == ["n: 1 -> 2"]


def test_async_tasks_and_generators(tmp_path, results, prefect_server):
    def made(n):
        target = TextTarget.from_path(tmp_path / "a.txt")
        target.set_data(str(n))
        return target

    @cpr.task(result_storage=results)
    async def store(n):
        await asyncio.sleep(0)
        return made(n)

    @cpr.task
    def stream(n):
        yield made(n)

    async def several():
        return await asyncio.gather(*(store(n) for n in range(4)))

    with heard() as lines:
        first = asyncio.run(several())
        misses.drain(20)
        asyncio.run(store(7))
        (streamed,) = stream(9)
        misses.drain(20)
    assert [one.made.inputs["n"].value for one in first] == [0, 1, 2, 3]
    assert streamed.made.task == "stream"
    assert len([line for line in lines if line.endswith("-> 7")]) == 1


@pytest.mark.parametrize("broken", ["write", "names", "read"])
def test_a_journal_that_fails_changes_nothing(lab, monkeypatch, broken):
    def fail(*args, **kwargs):
        raise RuntimeError("the storage block is out of order, password=canary")

    monkeypatch.setattr(f"cpr.provenance.inputs_journal.UrlFolder.{broken}", fail)
    (targets, _), lines = lab.run(gain=9)
    assert len(targets) == 2
    assert broken == "write" or lines == []


def test_a_journal_that_hangs_delays_nothing(lab, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr("cpr.provenance.inputs_journal.UrlFolder.names", lambda *_: gate.wait(60) and [])
    timer = threading.Timer(30, gate.set)
    timer.start()
    try:
        monkeypatch.setattr(misses, "drain", lambda *_: None)
        lab.run(gain=9)
        assert not gate.is_set()
    finally:
        timer.cancel()
        gate.set()


@pytest.mark.s3
def test_in_a_bucket_through_prefects_block(tmp_path, s3_url, s3_server, prefect_server, monkeypatch):
    RemoteFileSystem(basepath=f"{s3_url}/records").save("cpr-why", overwrite=True)
    lab = Lab(tmp_path, RemoteFileSystem.load("cpr-why"), monkeypatch)
    lab.run()
    assert lab.run(method="li")[1].count('method: "otsu" -> "li"') == 2
    assert {one.task for one in read_journal(f"{s3_url}/records")} == {"denoise", "plain"}


SCRIPT = """
import os, sys
import cpr, prefect
from prefect.filesystems import RemoteFileSystem

@cpr.task
def double(n):
    return 2 * n

@prefect.flow(result_storage=RemoteFileSystem.load(sys.argv[1]))
def once():
    return double(int(sys.argv[2]))

once()
"""


@pytest.mark.s3
def test_a_script_that_ends_leaves_what_it_knows(tmp_path, s3_url, s3_server, prefect_server):
    RemoteFileSystem(basepath=f"{s3_url}/records").save("cpr-why-script", overwrite=True)
    (tmp_path / "script.py").write_text(SCRIPT)
    for n in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(tmp_path / "script.py"), "cpr-why-script", n],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    (found,) = read_journal(f"{s3_url}/records")
    assert sorted(one.inputs["n"].value for one in found.made) == [1, 2]
    assert "not cached: n: 1 -> 2" in done.stderr + done.stdout


def test_many_mapped_tasks_list_once(tmp_path, results, prefect_server, monkeypatch):
    listed = []
    place = cpr.provenance.inputs_journal.UrlFolder
    names = place.names
    monkeypatch.setattr(
        cpr.provenance.inputs_journal.UrlFolder, "names", lambda self, f: listed.append(f) or names(self, f)
    )

    @cpr.task(result_storage=results)
    def double(n, factor):
        return n * factor

    @prefect.flow
    def many(factor):
        return [double(n, factor) for n in range(20)]

    many(2)
    with heard() as lines:
        many(3)
        misses.drain(20)
    assert sorted(lines) == ["factor: 2 -> 3"] * 20
    assert len(listed) == 2  # one for each flow run


def test_journals_are_read_so_many_times_a_minute(tmp_path, results, prefect_server, monkeypatch):
    monkeypatch.setattr(misses, "_writer", misses._JournalWriter())
    monkeypatch.setattr(misses, "_MOST_READS", 3)

    @cpr.task(result_storage=results)
    def double(n):
        return 2 * n

    @prefect.flow
    def once(n):
        return double(n)

    with heard() as lines:
        for n in range(6):
            once(n)
        misses.drain(20)
    assert lines == ["n: 0 -> 1", "n: 1 -> 2"]  # the first run found nothing to compare with


def test_a_task_that_calls_tasks_knows_its_own_arguments(tmp_path, results, prefect_server):
    @cpr.task(result_storage=results)
    def inner(n):
        target = TextTarget.from_path(tmp_path / "inner.txt")
        target.set_data(str(n))
        return target

    @cpr.task(result_storage=results)
    def outer(m):
        target = TextTarget.from_path(tmp_path / "outer.txt")
        target.set_data(inner(m + 1).get_data() + inner(m + 2).get_data())
        return target

    with heard() as lines:
        first = outer(1)
        outer(11)
        misses.drain(20)
    assert list(first.get_made().inputs) == ["m"]
    assert sorted(lines) == sorted(["m: 1 -> 11", "n: 2 -> 3", "n: 3 -> 12", "n: 12 -> 13"])


def test_arrays_in_memory_are_told_apart(tmp_path, results, prefect_server):
    @cpr.task(result_storage=results)
    def total(stack):
        return float(stack.sum())

    with heard() as lines:
        total(np.zeros(3))
        total(np.ones(3))
        misses.drain(20)
    assert lines == ["stack: another ndarray"]


def test_a_function_of_another_module_is_named_with_its_line(tmp_path, results, prefect_server, monkeypatch):
    lab = Lab(tmp_path, results, monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    lab.edit("SIGMA = 2", "import myhelpers\nSIGMA = 2")
    lab.edit("text * 1", "myhelpers.gain(text) * myhelpers.TIMES")

    def run(text):
        (tmp_path / "myhelpers.py").write_text(text)
        sys.modules.pop("myhelpers", None)
        importlib.invalidate_caches()
        try:
            return lab.run()
        finally:
            sys.modules.pop("myhelpers", None)

    text = "# comment\ndef gain(x):\n    return x * 2\nTIMES = 1\nclass Unused:\n    pass\n"
    assert run(text)[1] == []
    assert run("\n\n" + text)[1] == []
    _, lines = run("\n\n" + text.replace("x * 2", "x * 3"))
    assert "myhelpers.gain changed (line 5)" in lines
    (denoised, _), lines = run("\n\n" + text.replace("x * 2", "x * 3").replace("TIMES = 1", "TIMES = 2"))
    assert "myhelpers.TIMES: 1 -> 2" in lines
    told = [render_all(one.differences) for one in explain(str(results), denoised[0].url)]
    assert "myhelpers.TIMES: 1 -> 2" in told
