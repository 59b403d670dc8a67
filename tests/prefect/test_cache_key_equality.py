"""Cache keys: equal for equal content anywhere, different for what matters."""

from __future__ import annotations

import datetime as dt
import functools
import io
import json
import os
import pathlib
import subprocess
import sys
import threading
import types
from collections import OrderedDict, namedtuple

import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import prefect
import pytest
from hypothesis import given

import cpr
from cpr.errors import FormatError, ResourceNotFoundError
from cpr.prefect import description_graph
from cpr.prefect.canonical_form import Describer
from cpr.prefect.source_code import describe_source
from cpr.utilities.utilities import hash_objects, task_input_hash
from tests.record_values import Box, Cell, Colour, Frozen, Level, Mode, nested, text_target
from tests.text_format import TextSource, TextTarget

NT = namedtuple("NT", "a b")  # noqa: PYI024


class Plain:
    def __init__(self, x):
        self.x = x


# Built anew on every call, so that nothing is equal by being the same object.
def values() -> dict[str, object]:
    array = np.arange(24.0).reshape(2, 3, 4)
    return {
        "none": None,
        "true": True,
        "int": 1,
        "big": 10**5000,
        "float": 1.0,
        "zero": 0.0,
        "minus zero": -0.0,
        "nan": float("nan"),
        "inf": float("inf"),
        "complex": 1 + 2j,
        "text": "1",
        "long text": "1" * 1000,
        "surrogate": "\ud800" * 300,
        "bytes": b"1",
        "bytearray": bytearray(b"1"),
        "list": [1, 2],
        "tuple": (1, 2),
        "set": {"a", "b", "c", "d"},
        "frozenset": frozenset({"a", "b", "c", "d"}),
        "dict": {"a": 1, 2: "b", (3,): None},
        "ordered": OrderedDict(a=1, b=2),
        "range": range(3),
        "named tuple": NT(1, 2),
        "dataclass": Cell([1], 2.0),
        "frozen": Frozen(1),
        "model": Box[int](content=1),
        "plain object": Plain({"a", "b"}),
        "enum": Colour.RED,
        "flags": Mode.READ | Mode.WRITE,
        "int enum": Level.LOW,
        "path": pathlib.Path("/a/b"),
        "date": dt.date(2026, 1, 1),
        "datetime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "numpy float": np.float32(1),
        "numpy int": np.int64(1),
        "datetime64": np.datetime64("2026-01-01"),
        "timedelta64": np.timedelta64(1, "s"),
        "array": array,
        "array of ints": array.astype(int),
        "array reshaped": array.reshape(3, 2, 4),
        "array of times": np.array(["2026-01-01"], "M8[D]"),
        "array of times in s": np.array(["2026-01-01"], "M8[s]"),
        "array of objects": np.array([1, "a", None], dtype=object),
        "array of text": np.array(["a", "bc"]),
        "masked": np.ma.masked_equal(np.arange(3), 1),
        "empty array": np.zeros((0, 3)),
        "scalar array": np.array(3.0),
        "dask": da.from_array(array, chunks=2) + 1,
        "frame": pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
        "frame renamed": pd.DataFrame({"a": [1, 2], "c": ["x", None]}),
        "frame of other dtype": pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]}),
        "frame with index": pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[5, 6]),
        "frame with names": pd.DataFrame(
            {"a": [1]}, index=pd.MultiIndex.from_tuples([(1, "x")], names=["i", "j"])
        ),
        "categories": pd.Series(pd.Categorical(["u", "v"], ordered=True), name="s"),
        "zoned": pd.Series(pd.to_datetime(["2026-01-01"]).tz_localize("Asia/Tokyo")),
        "nullable": pd.Series([1, None], dtype="Int64"),
        "index": pd.Index([1, 2]),
        "timestamp": pd.Timestamp("2026-01-01", tz="UTC"),
        "function": lambda x: x + 1,
        "other function": lambda x: x + 2,
        "default": lambda x=1: x,
        "closure": _adder(1),
        "other closure": _adder(2),
        "recursive": _recursive(),
        "partial": functools.partial(max, 1),
        "builtin": len,
        "ufunc": np.sin,
        "class": dict,
        "module": types,
        "method": Plain(1).__init__,
        "target": text_target("content"),
        "other target": text_target("other"),
        "empty target": TextTarget.from_path("memory://flows/empty.txt"),
        "nested target": {"a": [text_target("content")]},
    }


def _adder(n):
    return lambda x: x + n


def _recursive():
    def factorial(n):
        return n and n * factorial(n - 1)

    return factorial


def test_different_things_have_different_hashes():
    hashes = {name: hash_objects(value) for name, value in values().items()}
    assert len(set(hashes.values())) == len(hashes), sorted(hashes.items(), key=lambda item: item[1])


def test_equal_things_have_equal_hashes():
    again = values()
    for name, value in values().items():
        assert hash_objects(value) == hash_objects(again[name]), name


PRINT_ALL = """
from cpr.utilities.utilities import hash_objects
from tests.prefect.test_cache_key_equality import values
for name, value in values().items():
    print(name, hash_objects(value))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_stable_across_processes(seed):
    here = [f"{name} {hash_objects(value)}" for name, value in values().items()]
    done = subprocess.run(
        [sys.executable, "-c", PRINT_ALL],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert sorted(set(here) - set(done.stdout.splitlines())) == []


def test_written_down():
    # Published: a change here makes every cached result of everyone run again.
    assert hash_objects(1, "a", x=[1.5, None], y={"k": (1,)}) == WRITTEN["plain"]
    assert hash_objects(np.arange(6, dtype="u2").reshape(2, 3)) == WRITTEN["array"]
    target = cpr.CSVTarget.from_path("s3://bucket/folder/table.csv")
    target.set_data(pd.DataFrame({"a": [1]}))
    assert hash_objects(target) == WRITTEN["target"]


WRITTEN = {
    "plain": "c6fc36220aba62eb55fd08c54fdb5e8d",
    "array": "7817747d755b946200448a7ee5d177fa",
    # Until the content digest counted: dbfbe77bed2ca508d6d127d5f7f6b458, as for records that have none.
    "target": "5c36ab45ed9978414a2ee8600a382bed",
}


def circle() -> list:
    found = ["x" * 300, list(range(400))]
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value",
    [list(range(2000)), {"a": ["x" * 9] * 500}, frozenset(range(2000)), circle(), [["y" * 200] * 9]],
    ids=["list", "dict", "set", "circle", "nested"],
)
def test_no_text_counts_as_what_it_is_the_name_of(value):
    """A long description is called by 64 digits in those that refer to it; so is what a text may say."""
    names = description_graph._Names(None)
    names.of([[Describer().describe_with_code(value, "x")], {}])
    called = [json.loads(one) for one in names._names.values() if one.startswith('"')]
    assert called
    for name in called:
        assert hash_objects(value) != hash_objects(name)
        assert hash_objects([value, value]) != hash_objects([name, name])
        assert hash_objects(name) != hash_objects(name[::-1]) != hash_objects(name[1:])


@given(nested())
def test_anything_that_can_be_stored_can_be_hashed(value):
    fsspec.filesystem("memory").pipe("/flows/raw.txt", b"raw")
    assert hash_objects(value) == hash_objects(value)


def test_order_does_not_matter():
    assert hash_objects(a=1, b=2) == hash_objects(b=2, a=1)
    assert hash_objects({"a": 1, "b": 2}) == hash_objects({"b": 2, "a": 1})
    assert hash_objects([1, 2]) != hash_objects([2, 1])
    assert hash_objects(1, 2) != hash_objects(2, 1)
    assert hash_objects([1], 2) != hash_objects([1, 2])


def test_layout_of_an_array_does_not_matter():
    array = np.arange(24, dtype="<i4").reshape(4, 6)
    assert hash_objects(array) == hash_objects(np.asfortranarray(array)) == hash_objects(array.astype(">i4"))
    assert hash_objects(array[::2]) == hash_objects(array[::2].copy())


def test_a_target_counts_the_same_in_memory_and_stored(tmp_path):
    target = text_target("content", str(tmp_path))
    before = hash_objects(target)
    assert not os.listdir(tmp_path)
    target.persist()
    stored = TextTarget.deserialize(target.serialize())
    os.remove(target.url)
    assert before == hash_objects(target) == hash_objects(stored)


def test_a_source_counts_with_its_version(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("one")
    source = TextSource.from_path(path)
    first = hash_objects(source)
    path.write_text("two!")
    assert hash_objects(TextSource.from_path(path)) != first
    # Asked once: the version it had is what it was.
    assert hash_objects(source) == first
    (found,) = TextSource.glob(tmp_path / "*.txt")
    monkeypatch.setattr("cpr.io.version_pinning.open_store", lambda url: pytest.fail("asked again"))
    assert hash_objects(found) != first


def test_many_sources_are_asked_side_by_side(tmp_path, monkeypatch):
    sources = [TextSource.from_path(tmp_path / f"{i}.txt") for i in range(64)]
    together = threading.Barrier(8, timeout=20)

    def version(self):
        together.wait()
        return {"etag": self.name}

    monkeypatch.setattr(TextSource, "identity", lambda self: {"url": self.url})
    monkeypatch.setattr(cpr.Source, "version", version)
    hash_objects({"images": sources})
    assert together.n_waiting == 0


def test_images_count_the_same_in_memory_and_stored(tmp_path):
    image = cpr.ImageTarget.from_path(tmp_path / "a.tif", resolution=(2, 4.5), metadata={"unit": "micron"})
    image.set_data(np.zeros((1, 5, 6), dtype=bool))
    before = hash_objects(image)
    assert hash_objects(cpr.load(image.serialize())) == before
    other = cpr.ImageTarget.from_path(tmp_path / "a.tif", resolution=(2, 5))
    other.set_data(np.zeros((1, 5, 6), dtype=bool))
    assert hash_objects(other) != before


def test_a_source_that_is_gone(tmp_path):
    with pytest.raises(ResourceNotFoundError):
        hash_objects(TextSource.from_path(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        io.open(os.devnull),  # noqa: UP020, SIM115
        (x for x in ()),
        Plain(threading.Lock()),
        functools.partial(max, threading.Lock()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_content_names_the_argument(value):
    with pytest.raises(FormatError) as caught:
        hash_objects(1, image={"deep": [value]})
    assert caught.value.field.startswith("image['deep'][0]")
    assert caught.value.remedy is not None


@pytest.mark.parametrize("wrap", [lambda one: [one], lambda one: frozenset([one]), lambda one: {"a": one}])
def test_a_value_may_be_as_deep_as_it_likes(wrap):
    def deep(end):
        value = end
        for _ in range(5000):
            value = wrap(value)
        return value

    assert hash_objects(deep(1)) == hash_objects(deep(1)) != hash_objects(deep(2))


def test_a_value_that_contains_itself():
    value: list = [1]
    value.append(value)
    other: list = [2]
    other.append(other)
    assert hash_objects(value) != hash_objects(other)


def test_objects_can_say_what_they_are():
    class Lazy:
        def __init__(self, token):
            self.token = token
            self.lock = threading.Lock()

        def __dask_tokenize__(self):
            return self.token

    assert hash_objects(Lazy(1)) == hash_objects(Lazy(1)) != hash_objects(Lazy(2))


SOURCE = "@task(retries=1)\ndef f(x):\n    '''Doc.'''\n    return x + 1  # one\n"


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    return x + 1",
        "    def f(x):\n        return (x\n            + 1)\n",
        "@other\n@task\ndef f(x):\n\n    return x+1",
    ],
)
def test_comments_formatting_docstring_and_decorators_do_not_count(other):
    assert describe_source(other) == describe_source(SOURCE)


@pytest.mark.parametrize(
    "other",
    [
        SOURCE.replace("x + 1", "x + 2"),
        SOURCE.replace("x + 1", "x - 1"),
        SOURCE.replace("(x)", "(x, y=1)"),
        SOURCE.replace("    return", "    x = 1\n    return"),
        "async " + SOURCE.removeprefix("@task(retries=1)\n"),
        "lambda x: x + 1)",
    ],
)
def test_what_the_function_does_counts(other):
    assert describe_source(other) != describe_source(SOURCE)


def context_of(task):
    return types.SimpleNamespace(task=task)


def test_the_key_of_a_task():
    @prefect.task
    def one(x):
        return x + 1

    key = task_input_hash(context_of(one), {"x": 1})
    assert key == task_input_hash(context_of(one.with_options(retries=3)), {"x": 1})
    assert key != task_input_hash(context_of(one), {"x": 2})


def test_tasks_made_by_a_factory_differ_by_what_they_close_over():
    def factory(n):
        @prefect.task
        def add(x):
            return x + n

        return add

    keys = {task_input_hash(context_of(factory(n)), {"x": 1}) for n in (1, 1, 2)}
    assert len(keys) == 2


def test_a_constant_counts_without_source():
    def made(constant):
        scope = {"task": prefect.task}
        # Python 3.13 may know a text for "<string>": that of `python -c`.
        exec(compile(f"@task\ndef one(x):\n    return x + {constant}", "<no text>", "exec"), scope)
        assert scope["one"].source_code is None
        return scope["one"]

    keys = [task_input_hash(context_of(made(n)), {"x": 1}) for n in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]


def test_the_key_of_a_pickled_task_is_the_same(tmp_path):
    import cloudpickle

    script = "@prefect.task\ndef one(x):\n    y = 300\n    return x + y + n\n"
    scope = {"prefect": prefect, "n": 1, "__name__": "__main__"}
    exec(script, scope)
    keys = [task_input_hash(context_of(scope["one"]), {"x": 1})]
    (tmp_path / "task").write_bytes(cloudpickle.dumps(scope["one"]))
    code = (
        "import pickle, sys, types\n"
        "from cpr import task_input_hash\n"
        "task = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(task_input_hash(types.SimpleNamespace(task=task), {'x': 1}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "task")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert [done.stdout.strip()] == keys


def test_levels_named_by_numbers_are_told_apart():
    import pandas as pd

    one = pd.MultiIndex.from_arrays([[1, 2], ["a", "b"]], names=[1, 0])
    two = pd.MultiIndex.from_arrays([["a", "b"], [1, 2]], names=[1, 0])
    three = one.set_names([0, 1])
    assert len({hash_objects(index) for index in (one, two, three)}) == 3
    assert hash_objects(one) == hash_objects(one.copy())


@pytest.mark.parametrize("kind", ["i2", "i4", "u8", "f4", "f8", "c16"])
def test_tables_of_either_byte_order_are_equal(kind):
    """As arrays are; those in the order of this machine keep the keys that they have had."""
    numbers = np.arange(5)
    swapped, native = (
        pd.DataFrame({"a": numbers.astype(dtype), "b": list("vwxyz")})
        for dtype in (np.dtype(kind).newbyteorder(), np.dtype(kind))
    )
    assert swapped["a"].dtype != native["a"].dtype
    assert hash_objects(swapped) == hash_objects(native)
    assert hash_objects(swapped["a"]) == hash_objects(native["a"])
    assert hash_objects(swapped.set_index("a")) == hash_objects(native.set_index("a"))
    assert hash_objects(native) != hash_objects(native.assign(a=numbers[::-1].astype(kind)))
    # The bytes of one order are other numbers in the other.
    turned = pd.DataFrame({"a": native["a"].to_numpy().view(np.dtype(kind).newbyteorder()), "b": native["b"]})
    assert hash_objects(turned) != hash_objects(native)
    other = "f8" if kind == "f4" else "f4"
    assert hash_objects(native) != hash_objects(native.assign(a=numbers.astype(other)))
