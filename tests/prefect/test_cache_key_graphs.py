"""Keys of things that refer to each other, of code that stands in data, and of what hides."""

import collections
import functools
import itertools
import sys
import textwrap
import time
import types

import numpy as np
import pandas as pd
import pytest
from prefect.cache_policies import TASK_SOURCE

import cpr
from cpr import hash_objects


class Thing:
    pass


def key(text, arg="1", run=""):
    """The key of `one` in a module that is made of a text, once some code has run in it."""
    module = types.ModuleType("made_for_keys")
    module.cpr = cpr
    exec(compile(textwrap.dedent(text) + "\none = cpr.task(one)\n", "made_for_keys.py", "exec"), vars(module))
    exec(textwrap.dedent(run), vars(module))
    module.one.source_code = "def one(x): ..."
    context = types.SimpleNamespace(task=module.one, task_run=None)
    return (cpr.TargetInputs() + TASK_SOURCE).compute_key(context, {"x": eval(arg, vars(module))}, {})


def all_know_all(count, container=list, last=0):
    things = [Thing() for _ in range(count)]
    for thing in things:
        thing.others = container(one for one in things if one is not thing)
    things[-1].value = last
    return things


def parents_and_children(count, last=0):
    top = Thing()
    top.children = [Thing() for _ in range(count)]
    for child in top.children:
        child.parent = top
    top.children[-1].value = last
    return top


def chain(count, last=0):
    things = [Thing() for _ in range(count)]
    for one, other in itertools.pairwise(things):
        one.next, other.previous = other, one
    things[-1].value = last
    return things[0]


def shared(count, last=0):
    value = [last]
    for _ in range(count):
        value = [value, value]
    return value


def many(count, last=0):
    things = [Thing() for _ in range(count)]
    for index, thing in enumerate(things):
        thing.index, thing.name = index, str(index)
    things[-1].index = last
    return things


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(all_know_all, 30),
        functools.partial(all_know_all, 30, set),
        functools.partial(all_know_all, 30, tuple),
        functools.partial(parents_and_children, 300),
        functools.partial(chain, 300),
        functools.partial(shared, 60),
        functools.partial(many, 2000),
    ],
    ids=["all in lists", "all in sets", "all in tuples", "parents", "chain", "shared", "many"],
)
def test_each_object_is_described_once(make):
    start = time.process_time()
    assert hash_objects(make()) == hash_objects(make()) != hash_objects(make(last=1))
    assert time.process_time() - start < 10


def test_what_is_shared_counts_as_a_copy():
    inner, ring, longer = [1], [], []
    ring.append(ring)
    longer.append([longer])
    assert hash_objects([inner, inner]) == hash_objects([[1], [1]])
    assert hash_objects(ring) == hash_objects(longer)


def test_circles_that_are_alike_for_a_step_differ():
    def ring(*values):
        things = [Thing() for _ in values]
        for thing, value, other in zip(things, values, things[1:] + things[:1], strict=True):
            thing.value, thing.next = value, other
        return things[0]

    rings = [ring(1, 2), ring(1, 2, 1), ring(1, 1, 2), ring(1, 2, 2), ring(1), ring(1, 2, 1, 1)]
    assert len({hash_objects(one) for one in rings}) == len(rings)
    assert hash_objects(ring(1, 2)) == hash_objects(ring(1, 2, 1, 2))


def test_a_dict_or_set_of_functions_has_no_order_where_none_is_read():
    text = "def f(x): return 1\ndef g(x): return 2\nALL = {}\ndef one(x): return ALL['a']\n"
    keys = [key(text.format(one)) for one in ("{'a': f, 'b': g}", "{'b': g, 'a': f}", "{'a': g, 'b': f}")]
    assert keys[0] == keys[1] != keys[2]
    assert (
        key(text.replace("{}", "{f, g}"))
        == key(text.replace("{}", "{g, f}"))
        != key(text.replace("{}", "{f}"))
    )


@pytest.mark.parametrize("cls", [collections.Counter, lambda d: collections.defaultdict(int, d)])
def test_dicts_of_other_classes_have_no_order(cls):
    assert hash_objects(cls({"a": 1, "b": 2})) == hash_objects(cls({"b": 2, "a": 1}))
    ordered = collections.OrderedDict
    assert hash_objects(ordered(a=1, b=2)) != hash_objects(ordered(b=2, a=1))


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("class P:\n __match_args__ = ('a', 'b')\ndef one(x): return P", "('a', 'b')", "('b', 'a')"),
        ("class P:\n __slots__ = ('a', 'b')\ndef one(x): return P", "('a', 'b')", "('b', 'a')"),
        (
            (
                "from dataclasses import *\n@dataclass\nclass P:\n"
                " a: int = field(default=1, metadata={'u': 'um'})\ndef one(x): return P"
            ),
            "'um'",
            "'nm'",
        ),
        (
            (
                "import dataclasses as d\nP = d.make_dataclass('P', ['a'], namespace={'f': lambda s: 2})\n"
                "def one(x): return P"
            ),
            "s: 2",
            "s: 3",
        ),
        (
            (
                "import types\nP = types.new_class('P', (), {}, lambda n: n.update(f=lambda s: 2))\n"
                "def one(x): return P"
            ),
            "s: 2",
            "s: 3",
        ),
        (
            (
                "from pydantic import *\nclass A(BaseModel):\n a: int = Field(1, alias='aa')\n"
                "def one(x): return A"
            ),
            "'aa'",
            "'ab'",
        ),
        (
            (
                "from pydantic import *\nclass A(BaseModel):\n a: int = 1\n"
                " @field_validator('a', mode='after')\n @classmethod\n def v(c, x): return x\n"
                "def one(x): return A"
            ),
            "'after'",
            "'before'",
        ),
        (
            (
                "from pydantic import *\nfrom typing import Annotated\ndef check(v): return v * 2\n"
                "class A(BaseModel):\n a: Annotated[int, AfterValidator(check)] = 1\ndef one(x): return A"
            ),
            "v * 2",
            "v * 3",
        ),
        (
            (
                "import functools\ndef g(x): return 2\nG = functools.lru_cache(functools.partial(g, 1))\n"
                "def one(x): return G"
            ),
            "return 2",
            "return 3",
        ),
    ],
    ids=str,
)
def test_all_that_a_class_says_counts(text, old, new):
    assert key(text) == key(text) != key(text.replace(old, new))


@pytest.mark.parametrize(
    ("imported", "run"),
    [
        ("from os import environ as it", "it['CPR_TEST_ANY'] = '1'"),
        ("from sys import path as it", "it.append('/nowhere')"),
        ("from sys import modules as it", "it['cpr_nothing'] = it['sys']"),
        ("from random import random as it", "it()"),
        ("from random import shuffle as it", "it([1, 2])"),
        ("from numpy.random import normal as it", "it()"),
    ],
)
def test_the_state_of_packages_does_not_count(imported, run, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = f"{imported}\ndef one(x): return it"
    try:
        assert key(text) == key(text, run=run)
    finally:
        sys.modules.pop("cpr_nothing", None)


def test_a_random_generator_of_ones_own_counts_by_its_state():
    text = "import random\nrng = random.Random(1)\ndef one(x): return rng.random()"
    assert key(text) == key(text) != key(text, run="rng.random()")


def test_copying_an_object_changes_no_key():
    text = "class P:\n pass\ndef one(x): return P"
    assert key(text) == key(text, run="import copy; copy.copy(P())")


@pytest.mark.parametrize(
    ("text", "arg"),
    [
        ("import pathlib\nclass P(type(pathlib.Path())):\n def f(s): return 2", "P('/nowhere')"),
        ("import numpy as np\nclass P(np.ndarray):\n def f(s): return 2", "np.zeros(2).view(P)"),
        ("class P(dict):\n def f(s): return 2", "P()"),
        ("class P(str):\n def f(s): return 2", "P('a')"),
        ("class P(int):\n def f(s): return 2", "P(1)"),
        ("import enum\nclass P(enum.Enum):\n A = 1\n def f(s): return 2", "P.A"),
        ("import cpr\nclass P(cpr.CSVTarget):\n def f(s): return 2", "P.from_path('/nowhere/a.csv')"),
    ],
    ids=str,
)
def test_an_argument_of_a_class_of_ones_own_counts_with_its_code(text, arg):
    text += "\ndef one(x): return x.f()"
    assert key(text, arg) == key(text, arg) != key(text.replace("return 2", "return 3"), arg)


@pytest.mark.parametrize("answer", ["return 5", "raise RuntimeError(name)"])
def test_a_metaclass_may_answer_anything(answer):
    text = f"class M(type):\n def __getattr__(cls, name):\n  {answer}\n"
    text += "class A(metaclass=M):\n def f(s): return 2\ndef one(x): return A"
    assert key(text) == key(text) != key(text.replace("return 2", "return 3"))


def test_a_name_counts_only_where_it_leads_back():
    class Elsewhere:
        def __reduce__(self):
            return "not_there"

    assert hash_objects(np.add) != hash_objects(np.subtract)
    with pytest.raises(cpr.FormatError, match="cannot take part"):
        hash_objects(Elsewhere())


def test_functions_inside_of_what_is_written_in_c():
    def g(x):
        return x

    def h(x):
        return -x

    assert hash_objects(np.frompyfunc(g, 1, 1)) == hash_objects(np.frompyfunc(g, 1, 1))
    assert hash_objects(np.frompyfunc(g, 1, 1)) != hash_objects(np.frompyfunc(h, 1, 1))
    assert hash_objects(functools.cmp_to_key(g)) != hash_objects(functools.cmp_to_key(h))


def masked(**options):
    return np.ma.array([1, 2], mask=[False, True], **options)


def with_unit(unit):
    value = masked()
    value.unit = unit
    return value


def frame(**changes):
    value = pd.DataFrame({"a": [1, 2, 3]}, index=pd.date_range("2020", periods=3, freq="D"))
    for name, change in changes.items():
        setattr(value, name, change)
    return value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (with_unit("um"), with_unit("nm")),
        (masked(), masked(hard_mask=True)),
        (np.array([(1, "a")], [("x", "i4"), ("o", "O")]), np.array([(1, "a")], [("y", "i4"), ("o", "O")])),
        (np.zeros(2), np.zeros(2, np.dtype("f8", metadata={"u": 1}))),
        (frame(), frame(index=pd.DatetimeIndex(frame().index, freq=None))),
        (frame(), frame(columns=pd.CategoricalIndex(["a"]))),
        (frame(), frame().set_flags(allows_duplicate_labels=False)),
    ],
    ids=["attribute", "hard mask", "fields", "metadata", "frequency", "labels", "flags"],
)
def test_all_that_an_array_or_table_says_counts(one, other):
    assert hash_objects(one) != hash_objects(other)


def test_a_module_that_was_edited_after_it_was_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "def one(x):\n import cpr_lazy_one\n return cpr_lazy_one.K"
    file = tmp_path / "cpr_lazy_one.py"
    try:
        file.write_text("K = 2\n")
        __import__("cpr_lazy_one")
        file.write_text("K = 30\n")
        as_it_runs = key(text)
        del sys.modules["cpr_lazy_one"]
        assert key(text) != as_it_runs
    finally:
        sys.modules.pop("cpr_lazy_one", None)
