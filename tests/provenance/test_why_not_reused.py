"""What differs between how two results were made, in words; and which of many is compared."""

from __future__ import annotations

import dataclasses
import random
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpr.provenance.provenance_record import Input, Made
from cpr.provenance.why_not_reused import (
    Difference,
    NearestResults,
    differences,
    line_digests,
    render,
    render_all,
)


def source(name: str, digest: str, **version) -> Input:
    return Input("ImageSource", digest=digest * 16, url=f"s3://bucket/raw/{name}.tif", version=version)


def target(name: str, digest: str) -> Input:
    return Input("ImageTarget", digest=digest * 16, url=f"s3://bucket/out/{name}-{digest * 16}.tif")


def text(digest: str) -> Input:
    return Input("str", digest=digest * 16)


def between(old: Input | None, new: Input | None) -> str:
    made = [Made(key=key, inputs={} if one is None else {"x": one}) for key, one in (("1", old), ("2", new))]
    return render_all(differences(*made))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (Input("int", 2), Input("int", 3), "x: 2 -> 3"),
        (Input("int", 1), Input("float", 1.0), "x: 1 -> 1.0"),
        (Input("int", 1), Input("bool", True), "x: 1 -> true"),
        (Input("NoneType"), Input("float", 0.5), "x: null -> 0.5"),
        (Input("str", "otsu"), Input("str", "li"), 'x: "otsu" -> "li"'),
        (Input("Colour", "Colour.RED"), Input("Colour", "Colour.BLUE"), "x: Colour.RED -> Colour.BLUE"),
        (Input("str", "otsu"), text("1"), "x: another str"),
        (text("1"), text("2"), "x: another str"),
        (Input("ndarray", digest="1" * 16), Input("ndarray", digest="2" * 16), "x: another ndarray"),
        (source("a", "1", etag="e"), source("a", "2", etag="f"), "source a.tif: ETag changed"),
        (source("a", "1", generation=1), source("a", "2", generation=2), "source a.tif: generation changed"),
        (source("a", "1", size=1), source("a", "2", size=22), "source a.tif: size 1 -> 22 bytes"),
        (
            source("a", "1", size=1, mtime_ns=1),
            source("a", "2", size=1, mtime_ns=2),
            "source a.tif: mtime ns changed",
        ),
        (source("a", "1"), source("a", "2"), "source a.tif: changed"),
        (source("a", "1"), source("b", "2"), "x: a.tif -> b.tif"),
        (target("a", "1"), target("a", "2"), "x: a.tif has other content"),
        (target("a", "1"), target("b", "2"), "x: a.tif -> b.tif"),
        (None, Input("int", 2), "x: was not there"),
        (Input("int", 2), None, "x: is gone"),
    ],
)
def test_of_one_argument(old, new, words):
    assert between(old, new) == words
    assert differences(Made(inputs={"x": old} if old else {}), Made(inputs={"x": old} if old else {})) == [
        Difference("unknown")
    ]


def listed(*held: Input, left_out: int = 0) -> Input:
    return Input(
        "list", digest=f"{crc32(repr((held, left_out)).encode()):016x}", holds=held, left_out=left_out
    )


def test_of_resources_in_a_list():
    old = [source(str(i), "1", etag="e") for i in range(6)]
    new = [*old[:3], source("3", "2", etag="f"), *old[4:]]
    assert between(listed(*old), listed(*new)) == "source 3.tif: ETag changed"
    assert between(listed(*old), listed(*old[1:])) == "x: 6 -> 5 resources"
    assert between(listed(*old), listed(*old, left_out=3)) == "x: 6 -> 9 resources"
    many = [source(str(i), "2", etag="f") for i in range(6)]
    assert between(listed(*old), listed(*many)).startswith("source 0.tif: ETag changed; source 1.tif")
    assert between(listed(*old), listed(*many)).endswith("source 2.tif: ETag changed; x: 3 more differ")
    assert between(listed(*old[:4]), listed(*many[:4])).endswith("x: 1 more differs")
    assert between(listed(*old, left_out=1), listed(*old, Input("x"))) == "x: another list"


def test_of_what_is_used_and_of_the_source():
    used = {"SIGMA": Input("int", 2), "smooth": Input("function", digest="1" * 16), "c": text("3")}
    other = {"SIGMA": Input("int", 3), "smooth": Input("function", digest="2" * 16), "c": text("4")}
    old, new = Made(uses=used, source="1" * 16), Made(uses=other, source="2" * 16)
    words = "SIGMA: 2 -> 3; smooth changed; c changed; task source changed"
    assert render_all(differences(old, new)) == words
    texts = ("def f(x):\n    return x\n", "def f(x):\n    return x + 1\n")
    lines = {digest * 16: line_digests(one) for digest, one in zip("12", texts, strict=True)}
    told = words.replace("smooth changed", "smooth changed (line 2)")
    assert render_all(differences(old, new, lines)) == f"{told} at line 2"
    told = words.replace("smooth changed", "smooth changed (line 8)")
    assert render_all(differences(old, new, lines, {"2" * 16: 7})) == f"{told} at line 8"


def test_what_came_or_went_with_a_change_is_not_told_beside_it():
    one, other, more = (Input("function", digest=digit * 16) for digit in "123")
    assert render_all(differences(Made(uses={"f": one}), Made(uses={"f": other, "g": more}))) == "f changed"
    assert render_all(differences(Made(uses={"f": one}), Made(uses={"f": one, "g": more}))) == "g changed"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("a\nb", "a\nc", 2), ("a\nb", "a", 2), ("a", "a\nb", 2), ("a", "b", 1), ("a\nb  \nc", "a\nb\nd", 3)],
)
def test_the_first_line_that_changed(old, new, line):
    old_made, new_made = Made(source="1" * 16), Made(source="2" * 16)
    (found,) = differences(old_made, new_made, {"1" * 16: line_digests(old), "2" * 16: line_digests(new)})
    assert (found.kind, found.line) == ("source", line)


def test_nothing_differs():
    made = Made(key="k", inputs={"n": Input("int", 1), "token": Input("secret")})
    assert render_all(differences(made, made)) == "result was missing"
    words = render_all(differences(made, dataclasses.replace(made, key="other")))
    assert words.startswith("something else changed: token (of which nothing is kept)")


def made(run: int = 0, **inputs) -> Made:
    return Made(flow_run=f"{run:032x}", key=str(inputs), inputs=inputs)


def relatives(*several: Made) -> NearestResults:
    found = NearestResults()
    for one in several:
        found.add(one)
    return found


class TestRelatives:
    def test_the_same_arguments_come_first(self):
        one, other = (
            made(image=source("a", "1"), n=Input("int", 1)),
            made(image=source("a", "1"), n=text("1")),
        )
        assert relatives(one, other).nearest(one) is one

    def test_then_one_that_differs_in_one_argument(self):
        far = made(image=source("a", "2"), n=Input("int", 3), m=text("2"))
        near = made(image=source("a", "1"), n=Input("int", 2), m=text("1"))
        asked = made(image=source("a", "1"), n=Input("int", 1), m=text("1"))
        assert relatives(near, far).nearest(asked) is near
        assert relatives(far).nearest(asked) is far

    def test_of_several_the_latest(self):
        several = [made(image=source("a", "1"), n=Input("int", n)) for n in range(5)]
        asked = made(image=source("a", "1"), n=Input("int", 9))
        assert relatives(*several).nearest(asked) is several[-1]
        assert relatives(*several[::-1]).nearest(asked) is several[0]

    def test_other_images_are_no_relatives(self):
        assert relatives(made(image=source("a", "1"))).nearest(made(image=source("b", "1"))) is None

    def test_a_target_of_other_content_is_at_the_same_place(self):
        one = made(image=target("a", "1"), n=Input("int", 1))
        assert relatives(one).nearest(made(image=target("a", "2"), n=Input("int", 2))) is one
        assert relatives(one).nearest(made(image=target("b", "2"), n=Input("int", 1))) is None

    def test_nothing_in_common_is_not_near(self):
        one = made(x=Input("int", 1), y=Input("int", 1))
        assert relatives(one).nearest(made(x=Input("int", 2), y=Input("int", 2))) is None
        assert relatives(one).nearest(made(x=Input("int", 2), y=Input("int", 1))) is one
        assert relatives().nearest(one) is None

    def test_ten_thousand_are_found_in_few_look_ups(self):
        several = [
            made(image=source(str(i), "1"), sigma=Input("int", s), m=text("1"))
            for i in range(2500)
            for s in range(4)
        ]
        random.Random(1).shuffle(several)
        found = relatives(*several)
        for i in range(2500):
            near = found.nearest(made(image=source(str(i), "1"), sigma=Input("int", 9), m=text("1")))
            assert near.inputs["image"] == source(str(i), "1")


INPUTS = st.one_of(
    st.builds(Input, st.just("int"), st.integers(0, 3)),
    st.builds(text, st.sampled_from("12")),
    st.builds(source, st.sampled_from("ab"), st.sampled_from("12")),
    st.builds(target, st.sampled_from("ab"), st.sampled_from("12")),
    st.just(Input("secret")),
    st.builds(lambda held: listed(*held), st.lists(st.builds(source, st.sampled_from("ab"), st.just("1")))),
)
MADE = st.builds(
    Made,
    key=st.sampled_from("12"),
    inputs=st.dictionaries(st.sampled_from("xyz"), INPUTS),
    uses=st.dictionaries(st.sampled_from("xyz"), INPUTS),
    source=st.sampled_from([None, "1" * 16, "2" * 16]),
)


@given(MADE, MADE)
def test_there_is_always_something_to_say(old, new):
    found = differences(old, new)
    assert found
    assert all(render(one) for one in found)
    same = [one.kind for one in differences(old, old)]
    assert same == ["missing"]


@given(st.lists(MADE, max_size=20), MADE)
def test_what_is_found_was_added(several, asked):
    found = relatives(*several).nearest(asked)
    assert found is None or found in several
