"""What a run shows in Prefect's UI and log: its results, what was written, and uploads that take long."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import types

import numpy as np
import prefect
import pytest
from prefect.client.orchestration import get_client

import cpr
from cpr.io.humanize import human_size
from cpr.prefect import artifacts, progress
from cpr.previews.thumbnails import decode_png, encode_png, within
from tests.record_values import text_target
from tests.text_format import TextTarget

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f0003030101b5f1e2e20000000049454e44ae426082"
)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1.2 * 2**30, "1.2 GiB"), (5 * 2**50, "5.0 PiB")],
)
def test_sizes(nbytes, text):
    assert human_size(nbytes) == text


def test_outside_of_a_run():
    with pytest.raises(cpr.CprError, match="no flow is running"):
        cpr.report_results([])


@pytest.mark.parametrize("name", ["a_b__c*d", "`a`", "a````b", "<b>&amp;[x](y)", "a b | c"])
def test_places_are_copied_as_they_are(name):
    _, opening, *lines, closing = artifacts._places([TextTarget.from_path(f"memory://b/{name}.txt")] * 2)
    assert len(lines) == 2
    assert all(line.startswith(f"memory://b/{name}") for line in lines)
    assert opening == f"{closing}text"
    assert set(closing) == {"`"}
    assert closing not in lines[0]


def test_pictures_fit_beside_what_is_told():
    grey = encode_png(np.arange(256 * 200).reshape(256, 200) % 251)
    assert within(grey, 256) == grey
    small = decode_png(within(grey, 160))
    assert small.shape == (160, 125, 3)
    assert abs(small.mean() - decode_png(grey).mean()) < 1
    coloured = encode_png(np.full((10, 400, 3), (9, 0, 255)))
    assert np.array_equal(decode_png(within(coloured, 160)), np.full((4, 160, 3), (9, 0, 255)))


def artifacts_of(state, kind):
    only = {"flow_run_id": {"any_": [str(state.state_details.flow_run_id)]}, "type": {"any_": [kind]}}
    with get_client(sync_client=True) as client:
        # Its read_artifacts() wants every filter, and joins what they name.
        answer = client._client.post("/artifacts/filter", json={"artifacts": only, "limit": 10})
    return [types.SimpleNamespace(**one) for one in answer.raise_for_status().json()]


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelno, record.getMessage()))

    def beginning(self, text):
        return [line for level, line in self.lines if line.startswith(text) and level == logging.INFO]


@pytest.fixture
def said():
    handler = Lines()
    loggers = [logging.getLogger(name) for name in ("prefect.task_runs", "prefect.flow_runs")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
class TestRuns:
    @pytest.fixture(autouse=True)
    def _server(self, prefect_server):
        pass

    def test_a_flow_reports_its_results(self, tmp_path, results, said):
        @cpr.task(result_storage=results)
        def denoise(n):
            target = cpr.ImageTarget.from_path(
                tmp_path / f"a_{n}|<b>.tif", resolution=(4, 2), metadata={"unit": "micron"}
            )
            target.set_data(np.full((8, 9), n, "uint16"))
            return target

        @prefect.flow(name="Analyse, all of it!")
        def analyse():
            futures = denoise.map([1, 2])
            source = cpr.ImageSource.from_path(futures.result()[0].url)
            made = {
                "images": futures,
                "again": [denoise.map([1])],
                "note": text_target("x"),
                "source": [source],
            }
            return str(cpr.report_results(made, "All", lambda one: PNG if "a_1" in one.get_name() else None))

        state = analyse(return_state=True)
        (artifact,) = artifacts_of(state, "markdown")
        assert (str(artifact.id), artifact.key) == (state.result(), "results-analyse-all-of-it")
        lines = artifact.data.splitlines()
        assert lines[0] == "# All"
        rows = [line for line in lines if re.match(r"\| .*\.(tif|txt) \|", line)]
        assert len(rows) == 3  # the source is one of the results
        first = next(row for row in rows if "a\\_1" in row)
        assert "data:image/png;base64," in first
        assert "0.25 x 0.5 micron" in first
        assert "8 x 9" in first
        assert "| denoise 20" in first
        assert "<b>" not in "\n".join(rows)
        assert all(len(re.findall(r"(?<!\\)\|", row)) == 8 for row in rows)

    def test_results_stand_by_sample_under_what_was_computed_and_what_was_cached(self, tmp_path, results):
        @cpr.task(result_storage=results)
        def denoise(n):
            target = cpr.NumpyTarget.from_path(tmp_path / f"cell {n}.npy")
            target.set_data(np.full(9, 10 * n))
            return target

        @cpr.task(result_storage=results)
        def measure(image, more):
            target = cpr.NumpyTarget.from_path(tmp_path / "mean.npy")
            target.set_data(image.get_data() + more)
            return target

        @cpr.task(result_storage=results)
        def join(images):
            target = cpr.NumpyTarget.from_path(tmp_path / "all.npy")
            target.set_data(np.concatenate([image.get_data() for image in images]))
            return target

        @prefect.flow(result_storage=results)
        def analyse(more):
            images = denoise.map([1, 2]).result()
            cpr.report_results([join(images), images, measure.map(images, more=more)])

        def shown(more):
            lines = artifacts_of(analyse(more, return_state=True), "markdown")[0].data.splitlines()
            return lines, sorted(line for line in lines if re.match(r"\| \w+ \| \d \| \d \|", line))

        _, counts = shown(0)
        assert [line.split(" | ")[1:] for line in counts] == [
            ["2", "0", "no earlier result |"],
            ["1", "0", "no earlier result |"],
            ["2", "0", "no earlier result |"],
        ]
        lines, counts = shown(1)
        assert counts == [
            "| denoise | 0 | 2 |  |",
            "| join | 0 | 1 |  |",
            "| measure | 2 | 0 | more: 0 -\\> 1 |",
        ]
        rows = [line for line in lines if ".npy |" in line]
        samples = [row.split(" | ")[0].removeprefix("| ") for row in rows]
        assert samples == ["cell 1", "cell 1", "cell 2", "cell 2", "of several samples"]

    def test_in_an_async_flow(self, tmp_path):
        @prefect.flow
        async def analyse():
            await asyncio.sleep(0)
            return str(cpr.report_results([text_target("x")]))

        state = asyncio.run(analyse(return_state=True))
        (artifact,) = artifacts_of(state, "markdown")
        assert artifact.key == "results-analyse"
        assert "note" in artifact.data

    def test_many_results_are_counted_and_pictures_that_fail_are_none(self):
        def picture(resource):
            raise ValueError("no picture")

        @prefect.flow
        def analyse():
            several = [TextTarget.from_path(f"memory://flows/{n}.txt") for n in range(520)]
            cpr.report_results(several, thumbnail=picture)

        (artifact,) = artifacts_of(analyse(return_state=True), "markdown")
        assert artifact.data.count("\n| ") == 502
        assert artifact.data.endswith("```\n\nand 20 more\n")

    def test_a_report_that_is_not_taken_fails_nothing(self, monkeypatch, said):
        def refuse(*args, **kwargs):
            raise RuntimeError("no such server")

        monkeypatch.setattr("cpr.prefect.artifacts.create_markdown_artifact", refuse)

        @prefect.flow
        def analyse():
            return cpr.report_results([]) is None

        assert analyse() is True
        assert any("not shown in Prefect's UI: RuntimeError" in line for _, line in said.lines)

    def test_what_was_written_is_in_the_log(self, tmp_path, results, said):
        @cpr.task(result_storage=results)
        def store(text):
            return [text_target(text, str(tmp_path)), text_target("shared", str(tmp_path / "b"))]

        @prefect.task(
            cache_key_fn=cpr.task_input_hash, result_serializer=cpr.cpr_serializer(), result_storage=results
        )
        def plain(text):
            target = cpr.NumpyTarget.from_path(tmp_path / "stream.npy")
            target.set_data((np.zeros((5, 200)) for _ in range(3)), shape=(3, 5, 200), dtype="f8")
            return target

        first, shared = store("a")
        streamed = plain("b")
        lines = said.beginning("wrote ")
        pattern = r"wrote (\S+) \d+(\.\d)? (B|KiB) in \d+\.\d s \(.* [KMG]?i?B/s\), xxh3_128:[0-9a-f]{32}"
        assert [re.fullmatch(pattern, line)[1] for line in lines] == [first.url, shared.url, streamed.url]
        store("a")  # cached
        store("c")  # of its two targets one is there already
        assert len(said.beginning("wrote ")) == 4

    @pytest.mark.parametrize("kind", ["sync", "async", "several"])
    def test_long_uploads_show_their_progress(self, tmp_path, results, monkeypatch, kind):
        monkeypatch.setattr(progress, "_LONG", 0.2)
        monkeypatch.setattr(progress, "_EVERY", 0.2)

        def slowly():
            for _ in range(8):
                time.sleep(0.25)
                yield np.zeros((64, 1024))

        def made(name):
            target = cpr.NumpyTarget.from_path(tmp_path / f"{name}.npy")
            target.set_data(slowly(), shape=(8, 64, 1024), dtype="f8")
            return target

        @cpr.task(result_storage=results, progress=True)
        def store():
            return made("a")

        @cpr.task(result_storage=results, progress=True)
        async def astore():
            return await asyncio.to_thread(made, "a")

        @prefect.flow
        def analyse():
            target = store() if kind == "sync" else asyncio.run(astore()) if kind == "async" else None
            if kind == "several":
                target = store.with_options(name="other")()
            return target.url

        state = analyse(return_state=True)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = artifacts_of(state, "progress")
            if found and found[0].data == 100:
                break
            time.sleep(0.2)
        (artifact,) = found
        assert artifact.data == 100
        assert artifact.description.startswith(f"{state.result()}: ")
        assert "of at most 4.0 MiB" in artifact.description
        assert artifact.task_run_id is not None

    def test_unless_it_is_asked_for_none_are_shown(self, tmp_path, results, monkeypatch):
        monkeypatch.setattr(progress, "_UploadWatcher", lambda *_: pytest.fail("nobody asked"))

        @cpr.task(result_storage=results)
        def store():
            return text_target("a", str(tmp_path))

        assert store().get_data() == "a"
