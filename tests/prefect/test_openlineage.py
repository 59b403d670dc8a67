"""Events of lineage: a server gets them, from which the lineage can be drawn, and no task waits for it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import time
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import prefect
import pytest

pytest.importorskip("openlineage.client")

import cpr
from cpr.prefect import openlineage, run_log, run_provenance, serializer
from cpr.prefect.lineage_events import dataset_name, events_of
from cpr.prefect.lineage_facts import ReportedResult
from cpr.provenance.provenance_record import Input, Made
from tests.servers.lineage import LineageServer
from tests.servers.lineage_schema import require_valid
from tests.text_format import TextSource, TextTarget

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect")]


@cpr.task(cache_result_in_memory=False)
def simulate(seed, folder):
    target = cpr.ImageTarget.from_path(f"{folder}/raw.tif")
    target.set_data(np.full((20, 30), seed, "uint16"))
    return target


@cpr.task(cache_result_in_memory=False)
def measure(image, flat, folder):
    target = cpr.CSVTarget.from_path(f"{folder}/table.csv")
    mean = image.get_data().mean() / float(flat.get_data())
    target.set_data(pd.DataFrame({"mean": [mean], "name": ["a"]}))
    return {"table": target, "image": image}


@prefect.flow
def analyse(seed, folder):
    flat = TextSource.from_path(f"{folder}/flat.txt")
    return measure(simulate(seed, folder), flat, folder)["table"]


@prefect.task(cache_key_fn=cpr.task_input_hash, cache_result_in_memory=False)
def plain(number, folder):
    target = TextTarget.from_path(f"{folder}/plain.txt")
    target.set_data(str(number))
    return [target]


@prefect.flow(persist_result=True, result_serializer=cpr.cpr_serializer())
def in_plain_style(number, folder):
    return plain(number, folder)


@cpr.task(cache_result_in_memory=False)
def calls_others(folder):
    image = simulate(1, folder)
    counted = count(image)
    target = TextTarget.from_path(f"{folder}/outer.txt")
    target.set_data(str(counted))
    return target, image


@cpr.task(cache_result_in_memory=False)
def count(image):
    return int(image.get_data().sum())


@prefect.flow
def nested(folder):
    return calls_others(folder)


@cpr.task(cache_result_in_memory=False)
def many(number, folder):
    targets = [cpr.NumpyTarget.from_path(f"memory://{folder}/{index}.npy") for index in range(number)]
    for index, target in enumerate(targets):
        target.set_data(np.full(3, index))
    return targets


@prefect.flow
def makes_many(numbers, folder):
    for number in numbers:
        many(number, folder)


@cpr.task
def fails(folder):
    raise ValueError(folder)


@prefect.flow
def failing(folder):
    return fails(folder, return_state=True).is_failed()


class Lab:
    def __init__(self, folder, storage):
        self.folder, self.storage = str(folder), storage
        (folder / "flat.txt").write_text("2.0")

    def run(self, flow, *args, wait=20):
        with heard() as lines:
            result = flow.with_options(result_storage=self.storage)(*args, self.folder)
            openlineage.drain(wait)
        self.lines = lines
        return result


@contextlib.contextmanager
def heard():
    """What the logs of runs, and cpr's, say of lineage at WARNING."""
    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            if record.levelno >= logging.WARNING and "lineage" in record.getMessage():
                lines.append(record.getMessage())

    loggers, handler = [logging.getLogger(f"prefect.{name}") for name in ("task_runs", "cpr")], Handler()
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield lines
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


@pytest.fixture
def lab(tmp_path, results, prefect_server, monkeypatch):
    for name in list(os.environ):
        if name.startswith("OPENLINEAGE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(openlineage.VARIABLE, "1")
    monkeypatch.setattr(openlineage, "_sender", openlineage._EventSender())
    monkeypatch.setattr(run_log, "_said", OrderedDict())
    return Lab(tmp_path, results)


@pytest.fixture
def server(monkeypatch):
    with LineageServer() as server:
        monkeypatch.setenv("OPENLINEAGE_URL", server.url)
        yield server


def name_of(dataset):
    return dataset["namespace"], dataset["name"]


def edges(events):
    """What was made of what, by which job."""
    return {
        (name_of(one), event["job"]["name"], name_of(other))
        for event in events
        for one in event["inputs"]
        for other in event["outputs"]
    }


def test_the_lineage_can_be_drawn_from_the_events(lab, server):
    table = lab.run(analyse, 3)
    assert lab.lines == []
    assert server.paths == ["/api/v1/lineage"] * 2
    for event in server.events:
        require_valid(event)
    first, second = server.events
    (raw,) = first["outputs"]
    assert raw["name"].startswith(f"{lab.folder}/raw-")
    assert edges(server.events) == {
        (("file", raw["name"]), "analyse.measure", ("file", table.url)),
        (("file", f"{lab.folder}/flat.txt"), "analyse.measure", ("file", table.url)),
    }
    made = table.get_made()
    assert second["run"]["runId"] == str(uuid.UUID(made.task_run))
    parents = [event["run"]["facets"]["parent"] for event in server.events]
    assert [(one["run"]["runId"], one["job"]["name"]) for one in parents] == [
        (str(uuid.UUID(made.flow_run)), "analyse")
    ] * 2
    with prefect.get_client(sync_client=True) as client:
        assert client.read_task_run(uuid.UUID(first["run"]["runId"])).name.startswith("simulate")
    # What is passed on was made by another.
    assert [name_of(one) for one in second["outputs"]] == [("file", table.url)]

    content, schema = (second["outputs"][0]["facets"][name] for name in ("cpr_content", "schema"))
    assert (content["dataHash"], content["nbytes"]) == (table.data_hash, table.nbytes)
    assert f"{content['checksumAlgorithm']}:{content['checksum']}" == table.checksum
    assert [(one["name"], one["type"]) for one in schema["fields"]] == [("mean", "float64"), ("name", "str")]
    (field,) = raw["facets"]["schema"]["fields"]
    assert (field["name"], field["type"], field["description"]) == ("array", "uint16", "shape 20 x 30")
    versions = {name_of(one)[1]: one["facets"]["version"]["datasetVersion"] for one in second["inputs"]}
    assert versions[raw["name"]] == raw["facets"]["version"]["datasetVersion"]
    assert versions[f"{lab.folder}/flat.txt"].startswith("size=3 ")
    assert second["outputs"][0]["facets"]["dataSource"]["uri"] == f"file://{table.url}"


def test_what_is_cached_is_not_told_again(lab, server):
    lab.run(analyse, 3)
    assert len(server.events) == 2
    lab.run(analyse, 3)
    assert len(server.events) == 2
    lab.run(analyse, 4)
    assert len(server.events) == 4


def test_tasks_of_prefects_own(lab, server):
    (target,) = lab.run(in_plain_style, 1)
    (event,) = server.events
    require_valid(event)
    assert (event["job"]["name"], name_of(event["outputs"][0])) == (
        "in-plain-style.plain",
        ("file", target.url),
    )


def test_tasks_that_call_tasks_have_an_event_each(lab, server):
    outer, image = lab.run(nested)
    for event in server.events:
        require_valid(event)
    told = {event["job"]["name"]: [one["name"] for one in event["outputs"]] for event in server.events}
    assert told == {"nested.simulate": [image.url], "nested.calls_others": [outer.url]}
    assert len(server.events) == 2


def test_a_run_that_fails_is_not_complete(lab, server):
    assert lab.run(failing)
    assert server.events == []


@pytest.mark.parametrize("setting", [None, "", "0", "off", "maybe"])
def test_nothing_is_sent_that_nobody_has_asked_for(lab, server, monkeypatch, setting):
    if setting is None:
        monkeypatch.delenv(openlineage.VARIABLE)
    else:
        monkeypatch.setenv(openlineage.VARIABLE, setting)
    lab.run(makes_many, [1, 2])
    assert server.events == []
    assert openlineage._sender._thread is None and not openlineage._sender._signed
    assert len(lab.lines) == (setting == "maybe")


def test_a_server_that_is_down_is_told_once(lab, monkeypatch, tmp_path):
    with LineageServer() as gone:
        url = gone.url
    # OpenLineage's own configuration; without it the client repeats for ten seconds.
    (tmp_path / "openlineage.yml").write_text(
        f"transport: {{type: http, url: '{url.replace('//', '//me:canary-4711@')}', retry: {{total: 0}}}}"
    )
    monkeypatch.setenv("OPENLINEAGE_CONFIG", str(tmp_path / "openlineage.yml"))
    began = time.monotonic()
    table = lab.run(analyse, 3)
    assert table.get_data()["mean"][0] == 1.5
    assert openlineage._sender._waiting == 0, time.monotonic() - began
    (line,) = lab.lines
    assert line.startswith(
        "The lineage of runs is not sent: ConnectionError. Remedy: see that the server runs"
    )
    assert "canary" not in line


def test_a_server_that_refuses_is_told_once(lab, server):
    server.status = 422
    lab.run(makes_many, [1, 2])
    (line,) = lab.lines
    assert "the server answers 422" in line


def test_a_server_that_never_answers_holds_up_nobody(lab, server, monkeypatch):
    monkeypatch.setattr(openlineage, "_MOST_WAITING", 2)
    server.answers.clear()
    with heard() as lines:
        makes_many.with_options(result_storage=lab.storage)([1, 2, 3, 4, 5], lab.folder)
        began = time.monotonic()
        openlineage.drain(0.5)
        assert 0.4 < time.monotonic() - began < 5
    full, unsent = lines
    assert full.startswith("The lineage of some runs is not sent: 2 results wait for the server")
    assert unsent == "The lineage of 2 results was not sent within 0.5 s"
    server.answers.set()
    openlineage.drain(20)
    assert len(server.events) == 2


PROGRAM = """
import pathlib, sys, time
from tests.prefect.test_openlineage import makes_many
makes_many.with_options(result_storage=pathlib.Path(sys.argv[1]))([1], "ends")
print(time.time())
"""


@pytest.mark.parametrize("answers", [True, False])
def test_a_process_that_ends_sends_what_waits_or_gives_up(lab, server, answers):
    if not answers:
        server.answers.clear()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(lab.storage)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    took = time.time() - float(done.stdout.split()[-1])
    assert [len(event["outputs"]) for event in server.events] == [1] * answers
    gave_up = "The lineage of 1 results was not sent within 3.0 s" in done.stderr + done.stdout
    assert gave_up != answers
    assert took < 30, took


def test_a_package_that_is_not_installed_is_told_once(lab, server, monkeypatch):
    for name in [one for one in sys.modules if one.partition(".")[0] == "openlineage"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openlineage", None)
    lab.run(makes_many, [1, 2])
    assert server.events == []
    (line,) = lab.lines
    assert "OpenLineage events needs the openlineage package" in line
    assert 'pip install "prefect-cpr[openlineage]"' in line


def test_secrets_are_in_no_event(lab, server, monkeypatch):
    canary = "canary-4711"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canary)

    @cpr.task(cache_result_in_memory=False)
    def keep(folder, api_key, about, image):
        target = TextTarget.from_path(f"{folder}/kept.txt")
        target.set_data("x")
        return target

    @prefect.flow
    def keeps(folder):
        return keep(folder, canary, f"token={canary}", TextSource.from_path(f"{folder}/flat.txt"))

    lab.run(keeps)
    (event,) = server.events
    require_valid(event)
    assert [name_of(one) for one in event["inputs"]] == [("file", f"{lab.folder}/flat.txt")]
    assert canary.encode() not in b"".join(server.bodies)


def test_the_cost_of_a_task(lab, server, monkeypatch):
    """Little of the task's thread, for one target and for a thousand: 1 ms where nothing else runs."""
    costs = []

    def timed(function):
        def run(*args):
            began = time.thread_time()
            function(*args)
            costs[-1] += time.thread_time() - began

        return run

    monkeypatch.setattr(run_provenance, "remember", timed(openlineage.remember))
    monkeypatch.setattr(serializer, "tell_lineage", timed(openlineage.tell_lineage))
    for number in (1, 1000):
        costs.clear()
        for run in range(3):
            costs.append(0.0)
            lab.run(makes_many, [number], wait=60)
            lab.folder += f"/{run}"
        print(number, "targets:", ", ".join(f"{1000 * cost:.3f} ms" for cost in costs))
        assert min(costs) <= 3e-3, costs
    assert sorted(len(event["outputs"]) for event in server.events) == [1, 1, 1, 1000, 1000, 1000]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://lab/raw/a b?.tif", ("s3://lab", "raw/a b?.tif")),
        ("s3a://lab/raw/a.tif", ("s3://lab", "raw/a.tif")),
        ("gcs://lab/raw/a.tif", ("gs://lab", "raw/a.tif")),
        ("abfs://box/raw/a.tif", ("abfs://box", "raw/a.tif")),
        ("/data/raw/a.tif", ("file", "/data/raw/a.tif")),
        ("file:///data/raw/a.tif", ("file", "/data/raw/a.tif")),
        ("sftp://me@host/data/a.tif", ("sftp://me@host", "/data/a.tif")),
        ("https://host/a.tif", ("https://host", "/a.tif")),
        ("memory://box/a.tif", ("memory", "box/a.tif")),
    ],
)
def test_names_are_those_of_openlineage(url, name):
    assert dataset_name(url) == name
    from openlineage.client.naming import dataset as naming

    kinds = {"s3": naming.S3, "gs": naming.GCS}
    protocol, _, rest = name[0].partition("://")
    theirs = kinds[protocol](rest, name[1]) if protocol in kinds else naming.LocalFileSystem(name[1])
    if protocol in {*kinds, "file"}:
        assert (theirs.get_namespace(), theirs.get_name()) == name


def test_no_name_has_a_secret():
    assert not re.search("word|x7", " ".join(dataset_name("sftp://me:word@host/a.tif?token=x7")))


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/data/\udcff.tif", "file:///data/%FF.tif"),
        ("/data/\ud83d.tif", "file:///data/%5Cud83d.tif"),
        ("/data/a\nb \x1b[2J.tif", "file:///data/a%0Ab%20%1B%5B2J.tif"),
        ("/data/" + "a" * 100_000, "file:///data/" + "a" * 100_000),
    ],
)
def test_a_name_that_is_no_text_keeps_back_no_event(path, uri):
    made = Made(task="t", flow="f", task_run="ab" * 16, inputs={"image": Input(type="ImageSource", url=path)})
    told = ReportedResult(b'{"__cpr__": ["value", null]}', made, None, datetime.now(UTC), None)
    (event,) = events_of(told, lambda _: None)
    from openlineage.client.serde import Serde

    sent = json.loads(Serde.to_json(event).encode())
    assert sent["inputs"][0]["facets"]["dataSource"]["uri"] == uri
