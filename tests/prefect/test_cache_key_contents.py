"""What a key is made of: what counts, what does not, and that computing it touches nothing."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
import textwrap
import threading
import types
import uuid

import fsspec
import numpy as np
import prefect
import pytest
from prefect.cache_policies import TASK_SOURCE

import cpr
from cpr.errors import FormatError
from tests.record_values import text_target
from tests.text_format import TextSource


def keys_of(task, **arguments) -> tuple[str, str]:
    """By the policy of `cpr.task`, and by `task_input_hash`."""
    context = types.SimpleNamespace(task=task, task_run=None)
    by_policy = (cpr.TargetInputs() + TASK_SOURCE).compute_key(context, arguments, {})
    return by_policy, cpr.task_input_hash(context, arguments)


def module(text: str, **names) -> types.SimpleNamespace:
    """A module with this text, and a task in it that is called `one`."""
    made = types.ModuleType("made")
    made.__dict__.update({"cpr": cpr, "np": np, **names})
    exec(compile(textwrap.dedent(text), "made.py", "exec"), made.__dict__)
    task = cpr.task(made.one)
    task.source_code = "def one(x):\n    ..."  # of which nothing changes here
    return task


BASE = """
import enum, math
class Mode(enum.Enum):
    FAST = 1
    SLOW = 2
SIGMA = 2.0
SIZES = (1, "a", Mode.FAST)
UNUSED = 1
LIST = [1]
def inner(x):
    return x * 3
def outer(x):
    return inner(x) + SIZES[0]
def unused(x):
    return x
@functools.lru_cache
def cached(x):
    return x + 10
def one(x):
    return [outer(y) * SIGMA + cached(y) + LIST[0] for y in x]
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SIGMA = 2.0", "SIGMA = 3.0"),
        ("SIGMA = 2.0", "SIGMA = 2"),
        ('(1, "a"', '(1, "b"'),
        ("Mode.FAST)", "Mode.SLOW)"),
        ("x * 3", "x * 4"),
        ("inner(x) + ", "inner(x) - "),
        ("x + 10", "x + 11"),
        ("LIST = [1]", "LIST = [2]"),
    ],
)
def test_what_the_function_uses_counts(old, new):
    before, after = (
        keys_of(module(text, functools=functools), x=1) for text in (BASE, BASE.replace(old, new))
    )
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("UNUSED = 1", "UNUSED = 2"),
        ("    return x\n", "    return x - 1\n"),
        ("import enum, math", "import enum"),
    ],
)
def test_what_it_does_not_use_does_not(old, new):
    before, after = (
        keys_of(module(text, functools=functools), x=1) for text in (BASE, BASE.replace(old, new))
    )
    assert before == after


def test_functions_of_other_modules_of_the_users_own_count():
    one, other = (eval(f"lambda x: x + {n}", {"__name__": "other"}) for n in (1, 2))
    text = "def one(x):\n    return helper(x)"
    assert set(keys_of(module(text, helper=one), x=1)).isdisjoint(keys_of(module(text, helper=other), x=1))


def test_functions_of_installed_packages_count_by_name():
    text = "def one(x):\n    return helper(x)"
    keys = [keys_of(module(text, helper=one), x=1) for one in (np.mean, np.mean, np.median, os.path.join)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_a_constant_that_the_function_assigns_itself_does_not_count():
    text = "COUNT = {}\ndef one(x):\n    global COUNT\n    COUNT += 1"
    assert keys_of(module(text.format(1)), x=1) == keys_of(module(text.format(2)), x=1)


def factory(value, helper=None):
    @cpr.task
    def add(x):
        return x + value if helper is None else helper(x)

    return add


def test_closures_count():
    assert keys_of(factory(1), x=1) == keys_of(factory(1), x=1)
    for other in (2, 1.0, [1], {"a": 1}, np.ones(3)):
        assert set(keys_of(factory(1), x=1)).isdisjoint(keys_of(factory(other), x=1))
    assert keys_of(factory([1, {"a"}]), x=1) == keys_of(factory([1, {"a"}]), x=1)


def test_helpers_in_closures_count():
    def helper(n):
        return lambda x: x + n

    assert keys_of(factory(0, helper(1)), x=1) == keys_of(factory(0, helper(1)), x=1)
    assert set(keys_of(factory(0, helper(1)), x=1)).isdisjoint(keys_of(factory(0, helper(2)), x=1))


def test_what_the_function_writes_to_does_not_count():
    calls, counts, box = [], {}, types.SimpleNamespace(n=0)

    @cpr.task
    def record(x):
        calls.append(x)
        counts["x"] = counts.get("x", 0) + 1
        box.n += 1
        return x

    before = keys_of(record, x=1)
    record.fn.__wrapped__(1)
    assert (calls, counts, box.n) == ([1], {"x": 1}, 1)
    assert keys_of(record, x=1) == before


def test_a_function_that_uses_itself_or_a_task():
    @cpr.task
    def base(x):
        return x - 1

    @cpr.task
    def recursive(x):
        return x and recursive(base(x))

    before = keys_of(recursive, x=1)
    assert keys_of(recursive, x=1) == before
    base.fn = lambda x: x - 2
    assert set(keys_of(recursive, x=1)).isdisjoint(before)


def test_uses_can_be_left_out():
    task = module(BASE, functools=functools)
    other = module(BASE.replace("2.0", "3.0"), functools=functools)
    policy = cpr.TargetInputs() + TASK_SOURCE - "SIGMA"
    keys = {
        policy.compute_key(types.SimpleNamespace(task=one, task_run=None), {"x": 1}, {})
        for one in (task, other)
    }
    assert len(keys) == 1


def test_the_order_of_arguments_does_not_matter():
    task = factory(1)
    assert keys_of(task, x=1, y=2) == keys_of(task, y=2, x=1)


def test_a_stored_target_counts_as_the_one_in_memory(tmp_path):
    task = factory(1)
    target = text_target("content", str(tmp_path))
    before = keys_of(task, x=[target])
    assert keys_of(task, x=[cpr.load(target.serialize())]) == before


WRAPPING = """
import enum, functools
def wrapping(f):
    @functools.wraps(f)
    def wrapper(x):
        return f(x)
    return wrapper
"""

SCRIPT = """
import sys, types
import cloudpickle, pickle
from prefect.cache_policies import TASK_SOURCE
import cpr
task = pickle.load(open(sys.argv[1], "rb"))
context = types.SimpleNamespace(task=task, task_run=None)
print((cpr.TargetInputs() + TASK_SOURCE).compute_key(context, {"x": {"b", "a"}}, {}))
print(cpr.task_input_hash(context, {"x": {"a", "b"}}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "2"])
def test_equal_on_a_worker_that_got_the_task_by_value(tmp_path, seed):
    import cloudpickle

    text = BASE.replace("@functools.lru_cache", "@wrapping").replace("import enum, math", WRAPPING)
    task = module(text, __name__="__main__")
    (tmp_path / "task").write_bytes(cloudpickle.dumps(task))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "task")],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert tuple(done.stdout.split()) == keys_of(task, x={"a", "b"})


def put(url: str, text: str) -> None:
    fsspec.filesystem("memory").pipe(url.removeprefix("memory:/"), text.encode())


@pytest.mark.parametrize("base", ["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def test_a_changed_source_is_a_changed_key_unless_the_path_is_to_count(base, tmp_path, request):
    place = {"memory": f"memory://{uuid.uuid4().hex}", "local": str(tmp_path)}.get(base)
    url = f"{place or request.getfixturevalue('s3_url')}/a.txt"

    def write(text: str) -> None:
        with cpr.io.writing(url) as file:
            file.write(text.encode())

    task = factory(1)
    context = types.SimpleNamespace(task=task, task_run=None)
    by_path = cpr.TargetInputs(sources="path")

    def both():
        images = [TextSource.from_path(url)]
        return keys_of(task, x=images), by_path.compute_key(context, {"x": images}, {})

    write("one")
    first = both()
    assert both() == first
    write("two")  # of the same size
    second = both()
    assert set(second[0]).isdisjoint(first[0])
    assert second[1] == first[1]


def test_by_path_no_store_is_asked():
    source = TextSource.from_path("memory://nowhere/none.txt")
    context = types.SimpleNamespace(task=factory(1), task_run=None)
    policy = cpr.TargetInputs(sources="path")
    assert policy.compute_key(context, {"x": [source, source]}, {}) is not None
    other = TextSource.from_path("memory://nowhere/none.txt", encoding="utf-16")
    assert policy.compute_key(context, {"x": [other, source]}, {}) != policy.compute_key(
        context, {"x": [source, source]}, {}
    )
    with pytest.raises(ValueError, match="'path'"):
        cpr.TargetInputs(sources="content")


PURE = """
import sys, types
import numpy as np
import cpr
from prefect.cache_policies import TASK_SOURCE

@cpr.task
def one(images, stack, n):
    return images

folder = sys.argv[1]
stored = cpr.NumpyTarget.from_path(f"{folder}/stored.npy")
stored.set_data(np.arange(1000))
stored = cpr.load(stored.serialize())
held = cpr.NumpyTarget.from_path(f"{folder}/held.npy")
held.set_data(np.arange(2000))
source = cpr.NumpySource.from_path(stored.url)
arguments = {"images": [stored, held, source], "stack": np.zeros(10), "n": 1}
context = types.SimpleNamespace(task=one, task_run=None)

def both():
    policy = cpr.TargetInputs() + TASK_SOURCE
    return policy.compute_key(context, arguments, {}), cpr.task_input_hash(context, arguments)

keys = both()  # imports what it needs
source._version = None
seen = []
def hook(event, args):
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.listdir", "socket.connect", "import"):
        if args[0] != "/proc/self/maps":  # which files are mapped
            seen.append((event, str(args[0])))
sys.addaudithook(hook)
assert both() == keys
hook = None
print(seen)
"""


@pytest.mark.slow
def test_computing_a_key_writes_nothing_and_reads_no_data(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PURE)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "data")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert len(os.listdir(tmp_path / "data")) == 1


class TestUnhashable:
    @pytest.fixture
    def said(self, monkeypatch):
        """Level and text of what was logged; Prefect's loggers hand nothing on once they are set up."""
        lines = []
        monkeypatch.setattr(
            "cpr.prefect.run_log.log", lambda level, text, *args: lines.append((level, text % args))
        )
        return lines

    def context(self, task):
        return types.SimpleNamespace(
            task=task, task_run=types.SimpleNamespace(id=uuid.uuid4(), flow_run_id=uuid.uuid4())
        )

    def test_a_policy_of_ours_gives_no_key_and_warns_once(self, said):
        task = factory(1)
        context = self.context(task)
        for _ in range(3):
            assert task.cache_policy.compute_key(context, {"x": {"a": threading.Lock()}}, {}) is None
        assert [level for level, _ in said] == [logging.WARNING, logging.DEBUG, logging.DEBUG]
        text = said[0][1]
        assert text.startswith("Task 'add' runs, but its result is not cached: x['a']: this value cannot")
        assert "_thread.lock" in text
        assert "cpr.TargetInputs() + TASK_SOURCE - 'x'" in text

    @pytest.mark.parametrize("policy", [cpr.TargetInputs(), cpr.TargetInputs() + TASK_SOURCE])
    def test_alone_or_in_a_sum_of_ours(self, policy):
        task = cpr.task(cache_policy=policy)(lambda x: x)
        assert policy.compute_key(self.context(task), {"x": threading.Lock()}, {}) is None

    def test_in_prefects_own_sum_it_raises_for_the_rest_of_the_key_would_find_something_else(self):
        policy = TASK_SOURCE + cpr.TargetInputs()
        task = cpr.task(cache_policy=policy)(lambda x: x)
        with pytest.raises(FormatError):
            policy.compute_key(self.context(task), {"x": threading.Lock()}, {})

    def test_plain_style(self, said):
        task = prefect.task(cache_key_fn=cpr.task_input_hash)(lambda x: x)
        assert cpr.task_input_hash(self.context(task), {"x": threading.Lock()}) is None
        assert "'x'" in said[0][1]

    def test_in_a_closure(self, said):
        task = factory(threading.Lock())
        assert task.cache_policy.compute_key(self.context(task), {"x": 1}, {}) is None
        assert "value: this value cannot take part" in said[0][1]
        assert (task.cache_policy - "value").compute_key(self.context(task), {"x": 1}, {}) is not None

    def test_a_source_that_is_gone(self, said):
        task = factory(1)
        source = TextSource.from_path(f"memory://{uuid.uuid4().hex}/none.txt")
        assert task.cache_policy.compute_key(self.context(task), {"x": source}, {}) is None
        assert source.url in said[0][1]
