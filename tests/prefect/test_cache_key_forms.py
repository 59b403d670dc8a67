"""What changes no key: how a text is laid out, and what objects have computed of themselves."""

from __future__ import annotations

import functools
import io
import itertools
import random
import sys
import tokenize

import pydantic
import pytest

from cpr import hash_objects
from cpr.prefect.code_references import facts_of


def spread(text: str, rng: random.Random) -> str:
    """A text of the same meaning with line breaks wherever brackets allow them."""
    found, depth, end = "", 0, (1, 0)
    for one in tokenize.generate_tokens(io.StringIO(text).readline):
        if one.type in (tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            continue
        found += " " * (one.start[1] - (end[1] if one.start[0] == end[0] else 0))
        depth -= one.string in list(")]}")
        found += "\n" * (depth > 0 and rng.random() < 0.7) + one.string
        depth += one.string in list("([{")
        end = one.end if one.string != "\n" else (end[0] + 1, 0)
    return found


def expression(rng: random.Random, depth: int) -> str:
    if not depth:
        return rng.choice(["a", "b", "c", "1", "None", "a.x", "b[0]", "f(a)"])
    texts = (
        "({} or {})|({} and {})|({} if {} else {})|(not {})|({} < {} < {})|f({}, k={})|[{} for a in {} if {}]"
    )
    text = rng.choice(texts.split("|"))
    return text.format(*(expression(rng, depth - 1) for _ in range(3)))


def statement(rng: random.Random, depth: int, indent: str = " ") -> str:
    kind = rng.randrange(9) if depth else rng.randrange(3)
    text = ["a = ({})", "f({})", "return ({})", "if ({}):", "while ({}):", "for c in ({}):", "try:"]
    text += ["with f({}) as b:", "if ({}):"]
    head = indent + text[kind].format(expression(rng, rng.randrange(1, 4))) + "\n"
    if kind < 3:
        return head
    body = "".join(statement(rng, depth - 1, indent + " ") for _ in range(rng.randrange(1, 3)))
    if kind in (4, 5):
        body += f"{indent} if ({expression(rng, 2)}): {rng.choice(['break', 'continue'])}\n"
    more = {3: f"{indent}else:\n", 6: f"{indent}except f({expression(rng, 1)}):\n"}.get(kind)
    return head + body + (more + body if more else "")


def digest_of(text: str) -> str:
    names: dict = {}
    exec(text, names)
    return facts_of(names["g"].__code__).digest


def test_line_breaks_do_not_count():
    for seed in range(60):
        rng = random.Random(seed)
        text = "def g(a, b, c):\n" + "".join(statement(rng, 2) for _ in range(2))
        assert digest_of(text) == digest_of(spread(text, rng)), text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return (a or b) and c", "return a or (b and c)"),
        ("return (a or b) and c", "return (a and b) and c"),
        ("return (a or b) and c", "return (b or a) and c"),
        ("return a if (b and c) else b", "return b if (b and c) else a"),
        ("return not (a or b)", "return (a or b)"),
        ("a, b = b, a\n return a", "b, a = b, a\n return a"),
        ("while a:\n  if b: break\n return c", "while a:\n  if b: continue\n return c"),
        ("try:\n  a()\n except b:\n  c()", "try:\n  a()\n finally:\n  c()"),
        ("try:\n  a()\n  c()\n except b: pass", "try:\n  a()\n except b: pass\n c()"),
        ("with a:\n  b()\n  c()", "with a:\n  b()\n c()"),
        ("for a in b:\n  c()\n  c()", "for a in b:\n  c()\n c()"),
        ("if a: return b\n return c", "if a: return c\n return b"),
    ],
)
def test_what_runs_counts(one, other):
    assert digest_of(f"def g(a, b, c):\n {one}\n") != digest_of(f"def g(a, b, c):\n {other}\n")


class Plain:
    @functools.cached_property
    def value(self):
        return 1


class WithSlots(Plain):
    __slots__ = ("k",)

    def __init__(self):
        self.k = 1


class WithMore(Plain):
    def __init__(self):
        self.k = 1


class Model(pydantic.BaseModel):
    k: int = 1

    @functools.cached_property
    def value(self):
        return 1


@pytest.mark.parametrize("cls", [Plain, WithSlots, WithMore, Model])
def test_what_an_object_has_computed_of_itself_does_not_count(cls):
    one = cls()
    before = hash_objects(one)
    assert one.value == 1
    assert hash_objects(one) == before
    if cls is not Plain:
        one.k = 2
        assert hash_objects(one) != before


def test_the_work_grows_with_the_number_of_objects():
    def calls(count: int) -> int:
        objects, steps = [WithMore() for _ in range(count)], itertools.count()
        sys.setprofile(lambda *_: next(steps))
        try:
            hash_objects(objects)
        finally:
            sys.setprofile(None)
        return next(steps)

    calls(10)
    assert calls(2_000) < 15 * calls(200)
