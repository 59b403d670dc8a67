"""Code of the user's own counts in keys: what is passed, held, closed over, imported, decorated."""

from __future__ import annotations

import decimal
import functools
import importlib
import os
import subprocess
import sys
import textwrap
import types

import numpy as np
import prefect
import pytest
from prefect.cache_policies import TASK_SOURCE

import cpr
from tests.prefect.projects import imported
from tests.prefect.test_cache_key_contents import keys_of


@cpr.task
def apply(x, method):
    return method


def named(text: str, **names) -> dict:
    """A script's names, as of the user's `__main__`."""
    names = {"__name__": "__main__", "np": np, "functools": functools, **names}
    exec(textwrap.dedent(text), names)
    return names


SCRIPT = """
import dataclasses, enum
class Threshold:
    def __call__(self, x):
        return x > {n}
class Otsu(Threshold):
    pass
LIMIT = {n}
def above(x):
    return x > LIMIT
def method(x):
    return above(x)
class Holder:
    def __init__(self, f):
        self.f = f
class Base:
    @staticmethod
    def static(x):
        return x > {n}
    @classmethod
    def of(cls, x):
        return x > {n}
    def plain(self, x):
        return above(x)
@dataclasses.dataclass
class Options:
    limit: int = 1
    def apply(self, x):
        return x > {n}
class Mode(enum.Enum):
    FAST = 1
    def apply(self, x):
        return x > {n}
"""


@pytest.mark.parametrize(
    "passed",
    [
        "Threshold()", "Threshold", "Otsu()", "Otsu", "method", "above", "lambda x: above(x)", "[method]",
        "{'m': (method,)}", "Holder(method)", "Holder(Threshold())", "functools.partial(above, 1)",
        "Base.static",
        "Base.of", "Base().plain", "Options()", "Mode.FAST", "np.vectorize(above)", "{Threshold}",
        "functools.lru_cache(above)", "type('Made', (Threshold,), {})()",
    ],
)  # fmt: skip
def test_code_that_is_passed_counts(passed):
    keys = [keys_of(apply, x=1, method=eval(passed, named(SCRIPT.format(n=n)))) for n in (10, 10, 20)]
    assert keys[0] == keys[1]
    assert set(keys[2]).isdisjoint(keys[0])


def test_a_comment_does_not_count():
    commented = SCRIPT.replace("def above(x):", "\n\n# a comment\ndef above(x):\n    'Doc.'\n    # more")
    for passed in ("Threshold()", "method", "Options()"):
        one, other = (eval(passed, named(text.format(n=1))) for text in (SCRIPT, commented))
        assert keys_of(apply, x=1, method=one) == keys_of(apply, x=1, method=other)


def smoothing(config, how):
    def setdefault(x):
        config.setdefault("mode", "wrap")
        return x * config["sigma"]

    def update(x):
        config.update(mode="wrap")
        return x * config.get("sigma")

    def item(x):
        config["mode"] = "wrap"
        return x * config["sigma"]

    def popped(x):
        return x * config.pop("sigma")

    def in_a_helper(x):
        def inner():
            config["n"] = 1
            return config["sigma"]

        return x * inner()

    return cpr.task(locals()[how])


@pytest.mark.parametrize("how", ["setdefault", "update", "item", "popped", "in_a_helper"])
def test_a_closure_that_is_read_counts_also_when_it_is_written_to(how):
    keys = [keys_of(smoothing({"sigma": s}, how), x=1) for s in (1, 1, 2)]
    assert keys[0] == keys[1]
    assert set(keys[2]).isdisjoint(keys[0])
    config = {"sigma": 1}
    task = smoothing(config, how)
    before = keys_of(task, x=1)
    config["sigma"] = 2  # between two calls of the same task
    assert set(keys_of(task, x=1)).isdisjoint(before)


LAB = {
    "helpers.py": """
LIMIT = 2
UNUSED = 1
def gain(x):
    return x * 3
class Model:
    @staticmethod
    def bias(x):
        return x + 4
    def predict(self, x):
        return x * 5
""",
    "lab/__init__.py": "from lab.filters.core import smooth\n",
    "lab/filters/__init__.py": "",
    "lab/filters/core.py": "def smooth(x):\n    return x * 6\n",
    "flow.py": """
import cpr, helpers, lab
from helpers import LIMIT, gain
@cpr.task
def task(x, model):
    other = helpers.Model.bias(x) + helpers.Model().predict(x)
    return gain(x) + LIMIT + lab.smooth(x) + model.go(x) + other
""",
    "models.py": "class Passed:\n    def go(self, x):\n        return x * 7\n",
}


@pytest.mark.parametrize("number", "234567")
def test_six_edits_of_a_small_project(tmp_path, number):
    def keys(files, folder):
        with imported(tmp_path / folder, files) as flow:
            model = importlib.import_module("models").Passed()
            return keys_of(flow.task, x=1, model=model), flow.task.fn(1, model)

    edited = {path: text.replace(number, "90") if path != "flow.py" else text for path, text in LAB.items()}
    before, after = keys(LAB, "before"), keys(edited, "after")
    assert before[1] != after[1]
    assert set(before[0]).isdisjoint(after[0])


@pytest.mark.parametrize("left_out", ["gain", "helpers.gain", "LIMIT", "lab.filters.core.smooth"])
def test_code_can_be_left_out_by_name(tmp_path, left_out):
    policy = cpr.TargetInputs() - left_out
    edited = {"gain": "3", "helpers.gain": "3", "LIMIT": "2", "lab.filters.core.smooth": "6"}[left_out]
    keys = []
    for number in (edited, "90", "5"):
        files = {path: text.replace(edited, number) for path, text in LAB.items()}
        if number == "5":
            files = {path: text.replace("x * 5", "x * 90") for path, text in LAB.items()}
        with imported(tmp_path / number, files) as flow:
            context = types.SimpleNamespace(task=flow.task, task_run=None)
            keys.append(policy.compute_key(context, {"x": 1, "model": None}, {}))
    assert keys[0] == keys[1] != keys[2]


def test_keys_of_one_task_keep_nothing_for_each_run():
    text = "@prefect.task\ndef inner(x):\n    return x\nALL = [inner]\ndef one(x):\n    return ALL"
    names = named(text, prefect=prefect)
    task = cpr.task(names["one"])
    keys_of(task, x=1)
    guards = task._cpr_used.describer.code.guards
    before = len(guards._attributes), len(guards._lookups)
    for x in range(5):
        keys_of(task, x=x)
    assert task._cpr_used.describer.code.guards is guards
    assert (len(guards._attributes), len(guards._lookups)) == before


def test_what_is_installed_counts_when_asked(tmp_path):
    def one(x):
        return x

    plain, using = cpr.task(one), cpr.task(uses=[np])(one)
    assert keys_of(plain, x=1) != keys_of(using, x=1)
    assert keys_of(using, x=1) == keys_of(cpr.task(uses=["numpy"])(one), x=1)
    assert keys_of(using.with_options(retries=1), x=1) == keys_of(using, x=1)
    assert keys_of(plain.with_options(uses=[np]), x=1) == keys_of(using, x=1)
    package = tmp_path / "site-packages" / "thirdparty"
    package.mkdir(parents=True)
    keys = []
    for text in ("A = 1", "A = 1", "A = 2"):
        (package / "__init__.py").write_text(text)
        with imported(package.parent, {"flow.py": "import thirdparty\n"}) as flow:
            keys.append(keys_of(cpr.task(uses=[flow.thirdparty])(one), x=1))
    assert keys[0] == keys[1] != keys[2]
    with pytest.raises(ValueError, match="not_there"):
        cpr.task(uses=["not_there"])(one)


def test_an_editable_install_and_a_folder_of_sys_path_are_the_users_own(tmp_path):
    keys = []
    for n in (1, 1, 2):
        with imported(
            tmp_path / f"src{len(keys)}", {"flow.py": f"def edited(x):\n    return x + {n}\n"}
        ) as flow:
            keys.append(keys_of(apply, x=1, method=flow.edited))
    assert keys[0] == keys[1] != keys[2]


def test_an_edit_of_a_module_after_it_was_imported_counts_when_it_runs(tmp_path):
    # What runs is what was imported, whatever its file says by now.
    text = "def late(x):\n    return x + 1\n"
    flow_text = "import cpr\n@cpr.task\ndef task(x):\n    import late\n    return late.late(x)\n"
    with imported(tmp_path, {"flow.py": flow_text, "late.py": text}) as flow:
        first = keys_of(flow.task, x=1)
        assert flow.task.fn(1) == 2
        (tmp_path / "late.py").write_text(text.replace("1", "2"))
        edited = keys_of(flow.task, x=1)
        assert flow.task.fn(1) == 2
        del sys.modules["late"]
        fresh = keys_of(flow.task, x=1)
        importlib.invalidate_caches()
        assert flow.task.fn(1) == 3
    assert len({first, edited, fresh}) == 3


def test_nothing_is_imported_and_nothing_runs(tmp_path):
    files = {
        "flow.py": "import cpr, pack\n@cpr.task\ndef task(x):\n    import heavy.deep\n"
        "    return heavy.deep.f(x) + pack.later.g(x)\n",
        "heavy/__init__.py": "raise AssertionError('imported')\n",
        "heavy/deep.py": "def f(x):\n    return x\n",
        "pack/__init__.py": "def __getattr__(name):\n    raise AssertionError('run')\n",
    }  # fmt: skip
    with imported(tmp_path, files) as flow:
        before = set(sys.modules)
        keys_of(flow.task, x=1)
        assert set(sys.modules) == before


CHILD = """
import sys, types, multiprocessing
sys.path.insert(0, sys.argv[1])
import cpr, helpers
from prefect.cache_policies import TASK_SOURCE

def local(x):
    return helpers.gain(x) + helpers.Model().predict(x)

class Local:
    def go(self, x):
        return local(x)

@cpr.task
def task(x, model):
    return local(x) + model.go(x)

def key(_=None):
    context = types.SimpleNamespace(task=task, task_run=None)
    return cpr.TargetInputs().compute_key(context, {"x": {"a", "b"}, "model": Local()}, {})

if __name__ == "__main__":
    print(key())
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(key, [0])[0])
    import cloudpickle, subprocess
    with open(sys.argv[2], "wb") as file:
        cloudpickle.dump((task, Local()), file)
    code = (
        "import pickle, sys, types; sys.path.insert(0, sys.argv[1]); import cpr;"
        "task, model = pickle.load(open(sys.argv[2], 'rb'));"
        "context = types.SimpleNamespace(task=task, task_run=None);"
        "print(cpr.TargetInputs().compute_key(context, {'x': {'b', 'a'}, 'model': model}, {}))"
    )
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", code, *sys.argv[1:]], check=True)
"""


@pytest.mark.slow
def test_equal_in_every_process(tmp_path):
    for path, text in LAB.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "script.py").write_text(CHILD)
    keys = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(tmp_path / "script.py"), str(tmp_path), str(tmp_path / "task")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.split()
        assert len(lines) == 4
        keys.update(lines)
    assert len(keys) == 1


def test_what_has_no_content_is_told_once_and_the_rest_counts(monkeypatch):
    lines = []
    monkeypatch.setattr("cpr.prefect.run_log.log", lambda level, text, *args: lines.append(text % args))
    text = """
HANDLE = open({path!r})
LOCK = __import__('threading').Lock()
N = {n}
def one(x):
    with LOCK:
        return x + N + len(HANDLE.read())
"""
    keys = []
    for n in (1, 1, 2):
        task = cpr.task(named(text.format(path=os.devnull, n=n))["one"])
        task.source_code = "def one(x): ..."
        run = types.SimpleNamespace(id=None, flow_run_id=None)
        context = types.SimpleNamespace(task=task, task_run=run)
        keys.append(cpr.TargetInputs().compute_key(context, {"x": 1}, {}))
    assert keys[0] == keys[1] != keys[2]
    assert len(lines) == 1
    assert "HANDLE (_io:TextIOWrapper)" in lines[0]
    assert "LOCK" not in lines[0]


@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_cases_in_flows(prefect_server, tmp_path):
    """Functions, classes, closures and helpers' modules, in flows that run twice."""

    @cpr.task(result_storage=tmp_path / "records")
    def segment(x, method):
        target = cpr.NumpyTarget.from_path(tmp_path / "seg.npy")
        target.set_data(method(x))
        return target

    @prefect.flow
    def run(method):
        return int(segment(np.arange(40), method).get_data().sum())

    assert [run(named(SCRIPT.format(n=n))["Threshold"]()) for n in (10, 20)] == [29, 19]
    assert [run(named(SCRIPT.format(n=n))["method"]) for n in (10, 20)] == [29, 19]

    def make(config):
        @cpr.task(result_storage=tmp_path / "records")
        def smooth(x):
            config.setdefault("mode", "wrap")
            target = cpr.NumpyTarget.from_path(tmp_path / "s.npy")
            target.set_data(x * config["sigma"])
            return target

        return smooth

    @prefect.flow
    def smooth_all():
        return [make({"sigma": s})(np.arange(3)).get_data().tolist() for s in (1, 2)]

    assert smooth_all() == [[0, 1, 2], [0, 2, 4]]


def test_the_context_of_decimals_counts_where_it_is_not_as_python_has_it():
    @cpr.task
    def divided(x):
        return decimal.Decimal(x) / 7

    context = types.SimpleNamespace(task=divided, task_run=None)

    def key():
        return (cpr.TargetInputs() + TASK_SOURCE).compute_key(context, {"x": 1}, {})

    first, result = key(), divided.fn(1)
    with decimal.localcontext() as changed:
        assert key() == first
        changed.prec = 6
        assert divided.fn(1) != result
        assert key() != first
    assert key() == first
