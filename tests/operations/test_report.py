"""The report: what it says, that it says nothing it should not, and how it behaves in a real browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr import io
from cpr.operations.report import Result, gather, render
from cpr.operations.report.graph import draw
from cpr.provenance.provenance_record import Input, Made

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
    results, _ = gather(f"{tmp_path}/records")
    assert {result.url for result in results} == {target.url for target in targets}
    assert sorted(result.state for result in results) == ["cached"] + ["computed"] * 6
    page = render(results, "A run")
    held = data_of(page)
    for target in targets:
        folder, _, file = target.url.rpartition("/")
        (row,) = [row for row in held["results"] if row[2] == file]
        assert held["texts"][row[1]] == folder
        assert target.data_hash in held["texts"]
    assert "0.25 x 0.25 micron" in held["texts"]
    assert page.count("data:image/png;base64,") == 6
    assert "7 results" in page
    assert "flow analyse" in page
    assert f"run {RUN}" in page
    assert "made 2026-11-24 06:00:00 UTC to 2026-11-24 06:03:20 UTC" in page
    assert held["tasks"] == ["denoise", "segment", "measure"]
    assert sorted((name, len(numbers)) for name, numbers, _ in held["samples"]) == [
        ("image 0", 2),
        ("image 1", 2),
        ("image 2", 2),
        ("of several samples", 1),
    ]


def data_of(page: str) -> dict:
    """What the page is drawn from."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def test_a_picture_has_a_scale_bar_where_its_pixels_have_a_size(tmp_path):
    (image, *_, table) = run_into(str(tmp_path), images=1)
    # 60 pixels of 0.25 micron: 15 micron wide.
    assert Result.of(image).scale_bar == (round(2 / 15, 4), "2 micron")
    assert Result.of(table).scale_bar is None
    colours = stored(cpr.ImageTarget, f"{tmp_path}/rgb.tif", np.zeros((50, 400, 3), "uint8"), None,
                     pixel_size=2.0, unit="mm", metadata={"axes": "YXS"})  # fmt: skip
    assert Result.of(colours).scale_bar == (0.25, "200 mm")
    # Just below a power of ten, whose logarithm is rounded up to it.
    tiny = stored(cpr.ImageTarget, f"{tmp_path}/tiny.tif", np.zeros((4, 4), "uint8"), None,
                  resolution=(0.010000000000000002,) * 2, metadata={"unit": "cm"})  # fmt: skip
    assert Result.of(tiny).scale_bar is not None


def test_pictures_are_described(tmp_path):
    run_into(str(tmp_path), images=1)
    (said,) = [
        row[10][1] for row in data_of(render(gather(f"{tmp_path}/records")[0]))["results"] if row[3] == 0
    ]
    assert said.startswith("image 0 of denoise, 40 x 60, pixel size 0.25 x 0.25 micron")


def test_lines_that_skip_columns_go_around_the_boxes():
    def result(url: str, task: str, *sources: str) -> Result:
        return Result(
            url, {}, Made(task, inputs={str(at): Input("T", url=url) for at, url in enumerate(sources)})
        )

    results = [result("m/1", "a", "r/0"), result("m/2", "b", "m/1"), result("m/3", "c", "m/2", "m/1", "r/0")]
    svg = draw(results).to_svg()
    boxes = [
        tuple(map(float, found))
        for found in re.findall(r'<rect x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', svg)
    ]
    paths = re.findall(r'<path d="([^"]+)"', svg)
    around = [path for path in paths if "H" in path]
    assert (len(paths), len(around)) == (5, 2)
    for path in around:
        lane = float(re.search(r" V(\S+) H", path)[1])
        assert all(lane > y + height for _, y, _, height in boxes)
        for across in (float(x) for x in re.findall(r"Q(\S+) ", path)):  # where it goes up or down
            assert not any(x <= across <= x + width for x, _, width, _ in boxes)


def test_a_damaged_result_stands_out_and_stops_nothing(tmp_path):
    targets = run_into(str(tmp_path))
    io.remove(targets[0].url)
    results, _ = gather(f"{tmp_path}/records")
    (gone,) = [result for result in results if result.problem is not None]
    assert gone.url == targets[0].url
    assert "there is no such object" in gone.problem
    assert "1 with problems" in render(results)


def test_only_the_newest_are_looked_at(tmp_path):
    run_into(str(tmp_path))
    assert (
        sum(result.preview is not None for result in gather(f"{tmp_path}/records", preview_limit=2)[0]) == 2
    )


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
    assert page.count("</script>") == 2  # of the data, and of the program
    assert "<img src=x" not in page
    assert 'href="javascript' not in page
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'", page)


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    run_into(str(tmp_path))
    page = render(gather(f"{tmp_path}/records")[0])
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "@import" not in page
    assert "url(" not in page


def test_tasks_stand_right_of_what_they_are_made_of(tmp_path):
    run_into(str(tmp_path), images=5)
    drawing = draw(gather(f"{tmp_path}/records")[0])
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
    (tmp_path / "report.html").write_text(render(gather(f"{tmp_path}/records")[0], "A run"), "utf-8")
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
    """Of the results that stand in the rows, from the left and the top."""
    found = page.locator(".body .card-name").all_inner_texts()
    return [name.removesuffix("computed").removesuffix("cached") for name in found]


def rows(page) -> list[str]:
    return page.locator(".body .sample").all_inner_texts()


def in_time(page, ask: Callable[[], Any], expected: Any) -> None:
    """What the page shows soon: it answers events when it has time."""
    end = time.monotonic() + 20
    while (found := ask()) != expected and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert found == expected


@pytest.mark.slow
def test_rows_are_sorted_and_filtered_in_a_browser(page):
    in_time(page, lambda: rows(page), ["image 2", "image 1", "image 0", "of several samples"])  # newest first
    in_time(page, lambda: len(names(page)), 7)
    page.select_option("#sort", "name")
    in_time(page, lambda: rows(page), ["image 0", "image 1", "image 2", "of several samples"])
    page.fill("#find", "image 2")
    in_time(page, lambda: rows(page), ["image 2"])
    in_time(page, lambda: page.inner_text("#count"), "2 results of 1 sample")
    page.select_option("#task", "segment")
    in_time(page, lambda: names(page), ["image 2"])
    page.fill("#find", "no such thing")
    in_time(page, lambda: page.is_visible("#nothing"), True)
    page.fill("#find", "")
    page.select_option("#task", "")
    page.select_option("#state", "cached")
    in_time(page, lambda: names(page), ["image 0"])


@pytest.mark.slow
def test_a_result_opens_and_leads_to_what_it_was_made_of_and_what_uses_it(page):
    page.click(".open:has-text('table')")
    in_time(page, lambda: "area" in page.inner_text("dialog"), True)
    in_time(page, lambda: page.url.endswith(".csv"), True)  # a link to this result
    page.click("dialog td a >> nth=1")
    in_time(page, lambda: page.inner_text("#opened-name"), "image 1")
    in_time(page, lambda: "segment" in page.inner_text("dialog"), True)
    page.click("dialog .list a")  # used by
    in_time(page, lambda: page.inner_text("#opened-name"), "table")
    page.keyboard.press("Escape")
    in_time(page, lambda: page.is_visible("dialog"), False)
    in_time(page, lambda: "#" in page.url, False)


@pytest.mark.slow
def test_a_link_opens_its_result_and_what_it_says_loads_it(page):
    name = page.evaluate("results.find((one) => data.tasks[one.task] === 'denoise').file")
    page.evaluate("(name) => { location.hash = encodeURIComponent(name); }", name)
    page.wait_for_selector("dialog[open]")
    call = page.inner_text(".load code")
    assert cpr.load(
        *eval(f"(lambda *found, name: found)({call.removeprefix('cpr.load(')}"), name=name
    ).url.endswith(name)
    assert eval(call).url.endswith(name)


@pytest.mark.slow
def test_the_page_can_be_used_by_keyboard(page):
    page.focus(".graph .task[data-task=denoise]")
    page.keyboard.press("Enter")
    in_time(page, lambda: len(names(page)), 3)
    assert page.get_attribute(".graph .task[data-task=denoise]", "aria-pressed") == "true"
    page.keyboard.press("Enter")
    in_time(page, lambda: len(names(page)), 7)
    page.focus("#find")
    page.keyboard.type("table")
    page.keyboard.press("Enter")  # submits nothing
    for _ in range(6):  # four choices, the rows, the first result
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    in_time(page, lambda: page.inner_text("#opened-name"), "table")
    page.keyboard.press("Enter")  # the button that closes it has the focus
    in_time(page, lambda: page.is_visible("dialog"), False)


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1400])
def test_a_screen_is_scrolled_with_few_rows_in_the_document(browser, tmp_path, width):
    results = [
        Result(f"m/{task}/{at}.tif", {"name": f"A{at}", "kind": "ImageTarget"}, made)
        for at in range(5000)
        for task, source in (("denoise", f"raw/A{at}.tif"), ("segment", f"m/denoise/{at}.tif"))
        for made in [
            Made(task, "screen", RUN, at=1_795_500_000 + at, inputs={"image": Input("T", url=source)})
        ]
    ]
    (tmp_path / "report.html").write_text(render(results, "A screen"), "utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(f"file://{tmp_path}/report.html")
    in_time(page, lambda: page.inner_text("#count"), "10,000 results of 5,000 samples")
    assert rows(page)[0] == "A4999"
    assert len(rows(page)) < 30
    page.evaluate("scroller.scrollTop = 1e9")
    page.wait_for_selector(".body .sample:text-is('A0')")
    assert len(rows(page)) < 30
    # The page itself is never wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
