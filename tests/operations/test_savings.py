"""Time and bytes that the cache has spared."""

from __future__ import annotations

import json
import time

import prefect
import pytest
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

import cpr
from cpr.operations.savings import savings
from cpr.provenance.task_runs import TaskRun
from tests.stored_flow import store
from tests.text_format import TextTarget


def test_hits_spare_what_the_last_computation_took(tmp_path):
    results = store(f"{tmp_path}/run")
    key = {kind: url.rpartition("/")[2] for kind, url in results.records.items()}
    runs = [
        TaskRun("x", key["small"], 0.5, True),
        TaskRun("x", key["small"], 1.5, True),
        TaskRun("x", key["small"], 10.0, False),  # the latest, which the hits found
        TaskRun("x", key["small"], 99.0, False),
        TaskRun("x", key["large"], 1.0, True),  # nothing is known of how it was made
        TaskRun("x", key["image"], 4.0, False),
        TaskRun("x", key["image"], 9.0, True),  # took longer than computing it
        TaskRun("x", "f" * 32, 1.0, True),
        TaskRun("x", "e" * 32, 1.0, False),
    ]
    found = savings(results.url, runs)
    by_task = {one.task: one for one in found.tasks}
    small, large, image = (by_task[f"make_{kind}"] for kind in ("small", "large", "image"))
    assert (small.hits, small.computed, small.seconds) == (2, 2, 9.5 + 8.5)
    assert small.nbytes == 2 * results.targets["small"].nbytes
    assert (large.hits, large.seconds, large.unknown, large.estimated) == (1, 0.0, 1, 0)
    assert (image.hits, image.seconds) == (1, 0.0)
    assert found.elsewhere == 1
    assert found.seconds == 18.0
    assert found.tasks[0] is small


def test_what_is_forgotten_by_the_server_takes_the_mean(tmp_path):
    results = store(f"{tmp_path}/run")
    key = [results.records[kind].rpartition("/")[2] for kind in ("small", "large")]
    for kind in ("small", "large"):
        path = results.records[kind]
        with open(path) as file:
            text = file.read().replace(f"make_{kind}", "make")
        with open(path, "w") as file:
            file.write(text)
    runs = [TaskRun("x", key[0], 2.0, True), TaskRun("x", key[1], 6.0, False)]
    (one,) = savings(results.url, runs).tasks
    assert (one.task, one.hits, one.seconds, one.estimated, one.unknown) == ("make", 1, 4.0, 1, 0)


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_prefects_server_knows_the_runs(tmp_path, counted, capsys):
    from cpr.cli.app import run

    @cpr.task(cache_result_in_memory=False)
    def spare_me(n):
        time.sleep(3)
        target = TextTarget.from_path(f"{tmp_path}/data/text.txt")
        target.set_data("a" * n)
        return target

    @prefect.flow
    def sparing():
        return spare_me(1000)

    url = f"{tmp_path}/records"
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: url}):
        for _ in range(3):
            target, _ = counted(sparing)
        assert run(["savings", url, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert run(["savings"]) == 0
    (one,) = found["tasks"]
    assert (one["task"], one["computed"], one["hits"]) == ("spare_me", 1, 2)
    assert one["nbytes"] == 2 * target.nbytes
    assert found["seconds"] > 0
    assert "spared by 2 cached runs" in capsys.readouterr().out
    assert run(["savings", f"{tmp_path}/elsewhere"]) == 3


def test_a_server_that_does_not_answer(tmp_path, capsys):
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES

    from cpr.cli.app import run

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        assert run(["savings", str(tmp_path)]) == 3
    assert "PREFECT_API_URL" in capsys.readouterr().err
