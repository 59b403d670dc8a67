"""Cached results whose objects are gone, damaged, changed or out of reach: what runs again, what does not.

All of it rests on what tests/prefect/test_prefect_facts.py guards, and runs on the oldest Prefect as well
(`make test-oldest`).
"""

from __future__ import annotations

import logging
import os
import random
import uuid

import fsspec
import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.errors import TransferError
from cpr.zarr.stores.manifest import manifest_url
from tests.minio.process import free_ports
from tests.text_format import TextSource, TextTarget

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]


def delete(fs, path):
    fs.rm_file(path)


def cut(fs, path):
    fs.pipe_file(path, fs.cat_file(path)[:-1])


def replace(fs, path):
    fs.pipe_file(path, b"something else")


def flip(fs, path):
    data = bytearray(fs.cat_file(path))
    data[len(data) // 2] ^= 1
    fs.pipe_file(path, bytes(data))


def put_another(fs, path):
    """Another whole object of the same size."""
    fs.pipe_file(path, bytes(byte ^ 0x55 for byte in fs.cat_file(path)))


DAMAGES = [(delete, "size"), (cut, "size"), (replace, "size"), (delete, "full"), (cut, "full"),
           (replace, "full"), (flip, "full"), (put_another, "full")]  # fmt: skip

#: Of every kind: a target of some data, and the object of it that is damaged.
KINDS = {
    "npy": (lambda: cpr.NumpyTarget, ".npy", lambda n: np.arange(n, n + 50), ""),
    "tiff": (lambda: cpr.ImageTarget, ".tif", lambda n: np.full((40, 50), n, "uint16"), ""),
    "csv": (lambda: cpr.CSVTarget, ".csv.gz", lambda n: pd.DataFrame({"a": range(n, n + 50)}), ""),
    "zarr": (lambda: cpr.ZarrTarget, ".zarr", lambda n: np.arange(n, n + 50), "/zarr.json"),
}


def read(target):
    return target.get_data(region=...) if target.ext == ".zarr" else target.get_data()


def equal(a, b):
    return a.equals(b) if isinstance(a, pd.DataFrame) else np.array_equal(a, b)


class Chain:
    """Two tasks, the second of the first's result, and what has run of them since it was asked last."""

    def __init__(self, kind: str, url: str, results, verify: str = "size") -> None:
        known, ext, known_data, self.part = KINDS[kind]
        cls = known()
        # Not `self` in the tasks: an object that a task uses counts in its key, with all that it holds.
        runs, data = self.runs, self.data = [], known_data
        options = {
            "result_storage": results,
            "result_serializer": cpr.cpr_serializer(verify=verify),
            # Prefect keeps what it has read in memory; another process has not.
            "cache_result_in_memory": False,
        }

        @cpr.task(**options)
        def first(number, url):
            runs.append("first")
            target = cls.from_path(f"{url}/first{ext}")
            target.set_data(data(number))
            return target

        @cpr.task(**options)
        def second(made, url):
            runs.append("second")
            read(made)
            target = cls.from_path(f"{url}/second{ext}")
            target.set_data(data(7))
            return {"deep": [target]}

        self._tasks, self._url = (first, second), url

    def run(self):
        """Both targets, and the tasks that ran."""
        self.runs.clear()
        first = self._tasks[0](3, self._url)
        second = self._tasks[1](first, self._url)["deep"][0]
        return first, second, list(self.runs)


WHERE = [(kind, "local") for kind in KINDS] + [(k, "s3") for k in ("npy", "zarr")]


@pytest.mark.parametrize(
    ("kind", "where"), [pytest.param(*one, marks=[pytest.mark.s3] if one[1] == "s3" else []) for one in WHERE]
)
@pytest.mark.parametrize("verify", ["size", "full"])
def test_damage_gives_exactly_one_recomputation(kind, where, verify, tmp_path, results, request):
    url = str(tmp_path / "data") if where == "local" else request.getfixturevalue("s3_url")
    chain = Chain(kind, url, results, verify)
    assert chain.run()[2] == ["first", "second"]
    *targets, runs = chain.run()
    assert runs == []
    for damage in [damage for damage, noticed in DAMAGES if noticed == verify]:
        # What is damaged runs again, once; what follows it stays cached, for the result is equal.
        for at, name in enumerate(("first", "second") if damage is delete else ("first",)):
            target = targets[at]
            fs, path = fsspec.url_to_fs(target.url + chain.part, use_listings_cache=False)
            if chain.part and verify == "size" and damage is not delete:
                # What checks sizes looks at a Zarr's manifest, not at every object.
                path = fsspec.url_to_fs(manifest_url(target.url))[1]
            damage(fs, path)
            *_, runs = chain.run()
            assert runs == [name], damage.__name__
            *targets, runs = chain.run()
            assert runs == [], damage.__name__
            for found, number in zip(targets, (3, 7), strict=True):
                assert equal(read(found), chain.data(number))


def test_same_size_damage_passes_the_quick_look_and_not_the_read(tmp_path, results):
    chain = Chain("npy", str(tmp_path / "data"), results)
    target = chain.run()[0]
    flip(fsspec.filesystem("file"), target.url)
    first, _, runs = chain.run()
    assert runs == []
    with pytest.raises(cpr.CorruptDataError):
        first.get_data()


class TestOutages:
    """A store that cannot be asked: the hit stands, with one warning, and a read says what is the matter."""

    @pytest.fixture
    def stored(self, s3_url, results):
        # Zarr is left out: it cannot be read before it is opened, which is a look-up.
        chain = Chain("npy", s3_url, results)
        chain.run()
        return chain

    def require_standing_hit(self, chain, caplog):
        with caplog.at_level(logging.WARNING):
            first, second, runs = chain.run()
        assert runs == []
        warnings = [r for r in caplog.records if "could not be looked for" in r.getMessage()]
        assert len(warnings) == 2  # one for each hit
        for target in (first, second):
            with pytest.raises(TransferError) as caught:
                target.get_data()
            assert caught.value.remedy
        return first

    def test_refused_connections(self, stored, monkeypatch, caplog):
        before = dict(os.environ)
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
        first = self.require_standing_hit(stored, caplog)
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, before["AWS_ENDPOINT_URL"])
        assert equal(first.get_data(), stored.data(3))
        assert stored.run()[2] == []

    @pytest.mark.parametrize("answer", ["503", "403"])
    def test_answers_that_are_none(self, stored, answer, faulty, caplog):
        faulty.plan(lambda number, kind: answer)
        first = self.require_standing_hit(stored, caplog)
        faulty.clear()
        assert equal(first.get_data(), stored.data(3))
        assert stored.run()[2] == []

    @pytest.fixture
    def faulty(self, s3_server, monkeypatch):
        from tests.faults.proxy import FaultProxy

        with FaultProxy(s3_server.endpoint) as proxy:
            for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
                monkeypatch.setenv(name, proxy.endpoint)
            yield proxy
            proxy.clear()


@pytest.mark.parametrize("rounds", [20, pytest.param(100, marks=pytest.mark.long)])
def test_foreign_changes_between_runs_give_no_stale_answer(rounds, s3_server, s3_url, results):
    """Somebody else's client deletes and re-creates objects, results and inputs alike."""
    client, dice, runs = s3_server.client(), random.Random(rounds), []

    @cpr.task(result_storage=results, cache_result_in_memory=False)
    def shout(source):
        runs.append(source.url)
        target = TextTarget.from_path(f"{s3_url}/shouted.txt")
        target.set_data(source.get_data().upper())
        return target

    def where(url):
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return {"Bucket": bucket, "Key": key}

    text = "first"
    client.put_object(**where(f"{s3_url}/source.txt"), Body=text.encode())
    made, counts = shout(TextSource.from_path(f"{s3_url}/source.txt")), {"again": 0, "cached": 0}
    for number in range(rounds):
        place = where(made.url)
        before = client.get_object(**place)["Body"].read()
        change = dice.choice(["delete", "re-create", "replace", "input", "input of equal size", "nothing"])
        if change != "nothing":
            client.delete_object(**(place if "input" not in change else where(f"{s3_url}/source.txt")))
        if change == "re-create":
            client.put_object(**place, Body=before)
        if change == "replace":
            client.put_object(**place, Body=before + b"!")
        if "input" in change:
            text = uuid.uuid4().hex[: 5 if "equal" in change else dice.randint(1, 30)]
            client.put_object(**where(f"{s3_url}/source.txt"), Body=text.encode())
        runs.clear()
        made = shout(TextSource.from_path(f"{s3_url}/source.txt"))
        assert made.get_data() == text.upper(), (number, change)
        assert len(runs) == (change not in ("re-create", "nothing")), (number, change)
        counts["again" if runs else "cached"] += 1
    print(f"{rounds} changes: {counts}, 0 stale answers")
    assert min(counts.values()) > 0
