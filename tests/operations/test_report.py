"""The report: what it says, that it says nothing it should not, and how it behaves in a real browser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr import io
from cpr.operations.report import Result, gather, render
from cpr.operations.report.graph import draw
from cpr.provenance.made import Input, Made

RUN, EARLIER = "a" * 32, "b" * 32


def stored(cls, path: str, data, made: Made | None, **options):
    target = cls.from_path(path, **options)
    target.set_data(data)
    target.made = made
    return target.persist()


def resource(target) -> Input:
    return Input(type(target).__name__, digest="0" * 16, url=target.url)


def run_into(folder: str, images: int = 3) -> list:
    """What a flow leaves: images denoised, masks of them, and one table of all."""
    random = np.random.default_rng(0)
    targets, masks = [], []
    for at in range(images):
        source = Input("ImageSource", digest=f"{at:016x}", url=f"{folder}/raw/image {at}.tif")
        made = Made("denoise", "analyse", RUN, "1" * 32, 1_795_500_000 + at, "0.1.0", f"key{at}",
                    inputs={"image": source, "sigma": Input("float", 2.5)})  # fmt: skip
        image = random.normal(size=(40 + 10 * at, 60)).astype("float32")
        denoised = stored(cpr.ImageTarget, f"{folder}/denoised/image {at}.tif", image, made,
                          resolution=(4.0, 4.0), metadata={"unit": "micron"})  # fmt: skip
        made = Made("segment", "analyse", EARLIER if at == 0 else RUN, None, 1_795_500_100 + at,
                    inputs={"denoised": resource(denoised)})  # fmt: skip
        masks.append(stored(cpr.ImageTarget, f"{folder}/masks/image {at}.tif", image > 0, made))
        targets += [denoised, masks[-1]]
    made = Made("measure", "analyse", RUN, None, 1_795_500_200,
                inputs={"masks": Input("list", holds=tuple(map(resource, masks)))})  # fmt: skip
    targets.append(stored(cpr.CSVTarget, f"{folder}/table.csv", pd.DataFrame({"area": [1.5, 2.5]}), made))
    for at, target in enumerate(targets):
        with io.writing(f"{folder}/records/{at}") as file:
            file.write(json.dumps(target.serialize()).encode())
    return targets


def test_a_report_shows_every_result_with_its_origin(tmp_path):
    targets = run_into(str(tmp_path))
    results = gather(f"{tmp_path}/records")
    assert {result.url for result in results} == {target.url for target in targets}
    assert sorted(result.state for result in results) == ["cached"] + ["computed"] * 6
    page = render(results, "A run")
    for target in targets:
        assert html.escape(target.url, quote=True) in page
        assert target.data_hash in page
    assert "0.25 x 0.25 micron" in page
    assert page.count("data:image/png;base64,") == 2 * 6  # on the card and opened
    assert "7 results" in page


def test_a_damaged_result_stands_out_and_stops_nothing(tmp_path):
    targets = run_into(str(tmp_path))
    io.remove(targets[0].url)
    results = gather(f"{tmp_path}/records")
    (gone,) = [result for result in results if result.problem is not None]
    assert gone.url == targets[0].url
    assert "there is no such object" in gone.problem
    assert "1 with problems" in render(results)


def test_only_the_newest_are_looked_at(tmp_path):
    run_into(str(tmp_path))
    assert sum(result.preview is not None for result in gather(f"{tmp_path}/records", preview_limit=2)) == 2


def test_what_records_say_is_text(tmp_path):
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    made = Made(
        hostile,
        hostile,
        RUN,
        inputs={hostile: Input("str", hostile), "u": Input("X", url="javascript:alert(1)")},
    )
    target = stored(cpr.CSVTarget, f"{tmp_path}/t.csv", pd.DataFrame({hostile: [hostile]}), made)
    page = render([Result.of(target)], hostile)
    assert page.count("<script>") == 1
    assert "<img src=x" not in page
    assert 'href="javascript' not in page
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'", page)


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    run_into(str(tmp_path))
    page = render(gather(f"{tmp_path}/records"))
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "@import" not in page
    assert "url(" not in page


def test_tasks_stand_right_of_what_they_are_made_of(tmp_path):
    run_into(str(tmp_path), images=5)
    drawing = draw(gather(f"{tmp_path}/records"))
    boxes = {box.label: box for box in drawing.boxes}
    assert [boxes[name].column for name in (f"{tmp_path}/raw", "denoise", "segment", "measure")] == [
        0,
        1,
        2,
        3,
    ]
    assert [boxes[name].count for name in (f"{tmp_path}/raw", "denoise", "segment", "measure")] == [
        5,
        5,
        5,
        1,
    ]
    assert sorted(count for _, _, count in drawing.lines) == [5, 5, 5]


def test_tasks_that_feed_each_other_are_drawn_once():
    def result(url: str, task: str, source: str) -> Result:
        return Result(url, {}, Made(task, inputs={"x": Input("T", url=source)}))

    drawing = draw([result("m/2", "b", "m/1"), result("m/3", "a", "m/2"), result("m/1", "a", "m/0")])
    assert {box.label for box in drawing.boxes} == {"a", "b", "m"}


def test_a_long_chain_of_tasks_is_drawn():
    chain = [
        Result(f"m/{at}", {}, Made(f"t{at}", inputs={"x": Input("T", url=f"m/{at - 1}")}))
        for at in range(1, 3000)
    ]
    assert max(box.column for box in draw(chain).boxes) == 2999


@pytest.fixture
def page(browser, tmp_path) -> Iterator:
    run_into(str(tmp_path))
    (tmp_path / "report.html").write_text(render(gather(f"{tmp_path}/records"), "A run"), "utf-8")
    found = browser.new_page(viewport={"width": 1200, "height": 900})
    complaints: list[str] = []
    found.on("console", lambda message: complaints.append(message.text))
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on(
        "request",
        lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url),
    )
    found.goto(f"file://{tmp_path}/report.html")
    yield found
    found.close()
    assert complaints == []


def names(page) -> list[str]:
    return page.locator(".card:visible .name").all_inner_texts()


@pytest.mark.slow
def test_the_gallery_sorts_and_filters_in_a_browser(page):
    assert len(names(page)) == 7
    assert names(page)[0].startswith("table")  # newest first
    page.select_option("#sort", "name")
    assert names(page)[0].startswith("image 0")
    page.fill("#find", "image 2")
    assert len(names(page)) == 2
    assert page.inner_text("#count") == "2 shown"
    page.select_option("#task", "segment")
    assert len(names(page)) == 1
    page.fill("#find", "no such thing")
    assert page.is_visible("#nothing")
    page.fill("#find", "")
    page.select_option("#task", "")
    page.select_option("#state", "cached")
    assert len(names(page)) == 1


@pytest.mark.slow
def test_a_result_opens_and_leads_to_what_it_was_made_of(page):
    page.click(".card:has-text('table') .open")
    assert "area" in page.inner_text("dialog")
    page.click("dialog a[data-open] >> nth=1")
    assert page.inner_text("#opened-name") == "image 1"
    assert "segment" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog")


@pytest.mark.slow
def test_the_page_can_be_used_by_keyboard(page):
    page.focus(".graph .task[data-task=denoise]")
    page.keyboard.press("Enter")
    assert len(names(page)) == 3
    assert page.get_attribute(".graph .task[data-task=denoise]", "aria-pressed") == "true"
    page.keyboard.press("Enter")
    assert len(names(page)) == 7
    page.focus("#find")
    page.keyboard.type("table")
    page.keyboard.press("Enter")  # submits nothing
    for _ in range(5):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.inner_text("#opened-name") == "table"
    page.keyboard.press("Enter")  # the button that closes it has the focus
    assert not page.is_visible("dialog")
