"""Code that is brought in by a name: seen where the name is written there, told of where it is computed."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

import cpr
from tests.prefect.projects import imported
from tests.prefect.test_cache_key_contents import keys_of


@pytest.fixture
def said(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr("cpr.prefect.run_log.log", lambda level, text, *args: lines.append(text % args))
    return lines


def key_of_run(task):
    run = types.SimpleNamespace(id=None, flow_run_id=None)
    context = types.SimpleNamespace(task=task, task_run=run)
    return cpr.TargetInputs().compute_key(context, {"x": 1}, {})


COMPUTED = {
    "eval ": "import builtins\n    return builtins.eval(name)",
    "sys.modules  ": "from sys import modules\n    return modules.get(name).one(x)",
    "eval": "return eval(f'{name}(x)')",
    "exec": "exec(name)",
    "globals": "return globals()[name](x)",
    "importlib.import_module": "import importlib\n    return importlib.import_module(name).one(x)",
    "__import__": "return __import__(name).one(x)",
    "sys.modules": "return getattr(sys.modules[name], 'one')(x)",
    "sys.modules ": "return getattr(sys.modules[__name__], name)(x)",
    "runpy.run_path": "return runpy.run_path(name)",
    "importlib.util.spec_from_file_location": "return importlib.util.spec_from_file_location('it', name)",
    "importlib.import_module ": "return [load(name) for name in [name]]",
    "importlib.import_module  ": "return list(map(load, [name]))",
    "importlib.import_module   ": "return load(package='lab', name=name)",
}


@pytest.mark.parametrize("called", COMPUTED)
def test_a_computed_name_is_told_once_with_its_line_and_remedy(tmp_path, said, called):
    text = "import importlib.util, runpy, sys\nfrom importlib import import_module as load\nN = {n}\n"
    text += f"def helper(x, name):\n    {COMPUTED[called]}\n"
    flow = (
        "import cpr\nfrom helping import helper, N\n@cpr.task\ndef task(x):\n    return helper(x, 'a') + N\n"
    )
    names = []
    for n in (1, 1, 2):
        with imported(
            tmp_path / str(len(names)), {"flow.py": flow, "helping.py": text.replace("{n}", f"{n}")}
        ) as made:
            made.task.name = called  # of each test its own: a process says it once
            names.append(key_of_run(made.task))
            # The remedy: nothing is to be said, and the module counts.
            assert key_of_run(made.task.with_options(uses=["helping"])) not in names
    assert names[0] == names[1] != names[2]
    (line,) = said
    place = 5 + COMPUTED[called].count("\n")
    assert f"task {called!r}" in line
    assert f"helping.helper, line {place}: {called.strip()}" in line
    assert "uses=[" in line


@pytest.mark.parametrize(
    "body",
    [
        "return 'numpy' in sys.modules",
        "return sys.modules['helping'].N",
        "return eval('N + x')",
        "return getattr(helping, name)",
        "return getattr(OBJECT, name)",
        "return globals()['N']",
    ],
)
def test_what_is_seen_is_not_told(tmp_path, said, body):
    flow = "import cpr, helping, sys\nN = 1\nOBJECT = helping.Thing()\n@cpr.task\n"
    flow += f"def task(x, name='N'):\n    {body}\n"
    with imported(tmp_path, {"flow.py": flow, "helping.py": "N = 1\nclass Thing:\n    N = 2\n"}) as made:
        assert key_of_run(made.task) is not None
    assert said == []


def test_the_remedy_counts_the_modules_source(tmp_path):
    flow = "import cpr, importlib\n@cpr.task(uses=['plugs'])\ndef task(x, name='plugs.a'):\n"
    flow += "    return importlib.import_module(name).go(x)\n"
    keys = []
    for n in (1, 1, 2):
        files = {"flow.py": flow, "plugs/__init__.py": "", "plugs/a.py": f"def go(x):\n    return x + {n}\n"}
        with imported(tmp_path / str(len(keys)), files) as made:
            keys.append(keys_of(made.task, x=1))
    assert keys[0] == keys[1]
    assert set(keys[2]).isdisjoint(keys[0])


FILES = {
    "flow.py": "import cpr, pack\nimport pack.early\n@cpr.task\ndef task(x):\n    import pack.late\n"
    "    return pack.late.K + getattr(pack, 'ear' + 'ly').K\n",
    "pack/__init__.py": "",
    "pack/early.py": "K = 1\n",
    "pack/late.py": "K = 2\n",
}
CHILD = """
import sys, types; sys.path.insert(0, sys.argv[1]); import cpr
for path, text in {files!r}.items():
    import os; os.makedirs(os.path.dirname(os.path.join(sys.argv[1], path)), exist_ok=True)
    open(os.path.join(sys.argv[1], path), "w").write(text)  # newer than the process
import flow
context = types.SimpleNamespace(task=flow.task, task_run=None)
def key(): return cpr.TargetInputs().compute_key(context, {{"x": 1}}, {{}})
before = key(); flow.task.fn(1); print(before == key())
"""


def test_what_else_of_a_package_was_imported_does_not_count(tmp_path):
    code = CHILD.format(files=FILES)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.stdout == "True\n", done.stderr
