"""Workers that share nothing but the bucket: killed at random, forked, spawned; computed once."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import numpy as np
import pytest
from prefect.filesystems import RemoteFileSystem
from prefect_dask import DaskTaskRunner

import cpr
from tests.flows import isolated_flows
from tests.flows.isolated_workers import lone_workers

pytestmark = [pytest.mark.real_s3, pytest.mark.slow, pytest.mark.xdist_group("prefect")]


@pytest.fixture(scope="module")
def workers(prefect_server, s3_server):
    variables = {"PREFECT_API_URL": prefect_server} | s3_server.environment()
    variables |= {"PREFECT_LOGGING_TO_API_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING"}
    with lone_workers(4, variables, threads=2) as running:
        yield running


@pytest.fixture
def on_workers(workers, s3_url):
    """on_workers(flow): the flow on the workers, Prefect's own records in the bucket."""
    name = f"records-{s3_url.rpartition('/')[2]}"
    RemoteFileSystem(basepath=f"{s3_url}/records").save(name, overwrite=True)

    def changed(flow):
        return flow.with_options(
            task_runner=DaskTaskRunner(address=workers.address),
            result_storage=f"remote-file-system/{name}",
        )

    return changed


def notes(url):
    return Counter(found.rpartition("/")[2].partition("-")[0] for found in cpr.io.find(f"{url}/notes/*"))


def test_they_share_nothing(on_workers, workers):
    answers = on_workers(isolated_flows.asking_where)(16)
    assert all(answer["readable"] == [] or not workers.users_differ for answer in answers)
    homes = {answer["home"] for answer in answers}
    assert len(homes) > 1
    if workers.users_differ:
        assert len({answer["user"] for answer in answers}) == len(homes)
        assert 0 not in {answer["user"] for answer in answers}


def test_what_32_ask_for_at_once_is_computed_once(on_workers, s3_url):
    asking = on_workers(isolated_flows.once(f"{s3_url}/locks"))
    targets = asking(f"{s3_url}/once", 32)
    assert notes(f"{s3_url}/once") == {"computed": 1}
    assert len({target.url for target in targets}) == 1
    assert np.array_equal(targets[0].get_data(), isolated_flows.array(7))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("kills", "ways"),
    [
        (3, ["fork"] * 2 + ["spawn"] * 2 + ["here"] * 8),
        pytest.param(20, ["fork"] * 20 + ["spawn"] * 20 + ["here"] * 24, marks=pytest.mark.long),
    ],
)
def test_killed_workers_forks_and_spawns(kills, ways, on_workers, workers, s3_url, capsys):
    """Workers are killed while the flow runs until the number is reached; everything comes out equal."""
    dice = random.Random(kills)
    running, killed, runs = threading.Event(), [], []
    stop = threading.Event()

    def kill() -> None:
        while len(killed) < kills and not stop.is_set():
            running.wait(1)
            time.sleep(dice.uniform(0.5, 3))
            if running.is_set() and not stop.is_set() and workers.kill(dice.randrange(8)):
                killed.append(time.monotonic())

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    dice_ways = list(ways)
    dice.shuffle(dice_ways)
    try:
        while len(killed) < kills:
            url = f"{s3_url}/run-{len(runs)}"
            workers.wait()
            started = time.monotonic()
            running.set()
            pairs = on_workers(isolated_flows.sharing)(url, dice_ways, 0.5)
            running.clear()
            runs.append((url, pairs, time.monotonic() - started))
    finally:
        stop.set()
    killer.join(30)
    hashes = set()
    for url, pairs, seconds in runs:
        assert seconds < 900
        for index, (one, two) in enumerate(pairs):
            assert np.array_equal(one.get_data(), isolated_flows.array(index))
            assert np.array_equal(two.get_data(), isolated_flows.array(index + 1000))
        hashes.add(tuple((one.data_hash, two.data_hash) for one, two in pairs))
        done = notes(url)
        assert done["fork"] >= ways.count("fork")
        assert done["spawn"] >= ways.count("spawn")
    assert len(hashes) == 1
    took = [round(seconds) for _, _, seconds in runs]
    with capsys.disabled():
        print(f"\n{len(killed)} kills in {len(runs)} flows of {2 * len(ways)} tasks, which took {took} s")
