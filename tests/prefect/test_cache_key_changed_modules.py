"""A module that is imported in the body of a function counts as it is, where it was changed since."""

from __future__ import annotations

import sys
import types

import pytest
from prefect.cache_policies import TASK_SOURCE

import cpr
from tests.prefect.projects import imported

FLOW = "import cpr\n@cpr.task\ndef task(x):\n    import lab\n    return lab.go(x)\n"
LAB = """
import numpy as np
class Settings:
    k = 1
class Own:
    def __init__(self):
        self.k = 1
K, L = 1, [1]
OPTIONS = {"k": 1, "l": [1]}
ARRAY = np.ones(2)
OWN = Own()
MEMO = {}
def one(x, k=1):
    return x * k
def go(x):
    MEMO[x] = K, L[0], OPTIONS["k"], OPTIONS["l"][0], float(ARRAY[0]), Settings.k, OWN.k, one(1)
    return MEMO[x]
"""
CHANGES = {
    "constant": lambda lab, n: setattr(lab, "K", n),
    "list": lambda lab, n: lab.L.__setitem__(0, n),
    "dict": lambda lab, n: lab.OPTIONS.update(k=n),
    "list in a dict": lambda lab, n: lab.OPTIONS["l"].__setitem__(0, n),
    "array": lambda lab, n: lab.ARRAY.fill(n),
    "attribute of a class": lambda lab, n: setattr(lab.Settings, "k", n),
    "attribute of an object": lambda lab, n: setattr(lab.OWN, "k", n),
    "default": lambda lab, n: setattr(lab.one, "__defaults__", (n,)),
    "function": lambda lab, n: setattr(lab, "one", (lambda x: x) if n == 1 else (lambda x: x * 2)),
    "class": lambda lab, n: setattr(lab, "Settings", types.SimpleNamespace(k=n)),
}


def key_of(flow):
    context = types.SimpleNamespace(task=flow.task, task_run=None)
    policy = cpr.TargetInputs() + TASK_SOURCE
    return policy.compute_key(context, {"x": 3}, {}), cpr.task_input_hash(context, {"x": 3})


@pytest.mark.parametrize("kind", CHANGES)
def test_changed_between_two_keys(tmp_path, kind):
    with imported(tmp_path, {"flow.py": FLOW, "lab.py": LAB}) as flow:
        first = key_of(flow)
        result = flow.task.fn(3)
        assert key_of(flow) == first
        CHANGES[kind](sys.modules["lab"], 2)
        assert flow.task.fn(3) != result
        changed = key_of(flow)
        assert set(changed).isdisjoint(first)
        assert key_of(flow) == changed


@pytest.mark.parametrize("kind", ["constant", "list", "dict", "list in a dict", "array"])
def test_put_back(tmp_path, kind):
    with imported(tmp_path, {"flow.py": FLOW, "lab.py": LAB}) as flow:
        flow.task.fn(3)
        first = key_of(flow)
        CHANGES[kind](sys.modules["lab"], 2)
        assert key_of(flow) != first
        CHANGES[kind](sys.modules["lab"], 1)
        assert key_of(flow) == first


@pytest.mark.parametrize("kind", ["constant", "dict", "list in a dict"])
def test_changed_before_the_first_key(tmp_path, kind):
    """What is written in the file as a literal is known without having seen it."""
    lab = LAB.replace("K, L = 1, [1]", "K = 1\nL = [1]")
    with imported(tmp_path / "1", {"flow.py": FLOW, "lab.py": lab}) as flow:
        first = key_of(flow)
    with imported(tmp_path / "2", {"flow.py": "import lab\n" + FLOW, "lab.py": lab}) as flow:
        assert key_of(flow) == first
    with imported(tmp_path / "3", {"flow.py": "import lab\n" + FLOW, "lab.py": lab}) as flow:
        CHANGES[kind](flow.lab, 2)
        assert set(key_of(flow)).isdisjoint(first)


def test_changed_in_a_module_that_it_imports(tmp_path):
    files = {"flow.py": FLOW, "lab.py": "import deep\ndef go(x): return deep.K * x\n", "deep.py": "K = 1\n"}
    with imported(tmp_path, files) as flow:
        first = key_of(flow)
        assert flow.task.fn(3) == 3
        assert key_of(flow) == first
        sys.modules["deep"].K = 2
        assert set(key_of(flow)).isdisjoint(first)


LEFT_BEHIND = {
    "by the function that imports it": ("    lab.SEEN.append(x)\n", "SEEN = []\n"),
    "by its own functions": ("", "SEEN = []\ndef note(x):\n    SEEN.append(x)\n"),
    "by a method": ("", "class Notes:\n    def note(self, x):\n        self.x = x\nnote = Notes().note\n"),
    "by an object that is made": (
        "    lab.Notes()\n",
        "class Notes:\n    made = []\n    def __init__(self):\n        self.made.append(1)\n",
    ),
    "in a generator of numbers": ("    lab.RANDOM.random()\n", "import random\nRANDOM = random.Random(3)\n"),
    "in a memo": ("", "import functools\n@functools.cache\ndef note(x):\n    return x\n"),
}


@pytest.mark.parametrize("kind", LEFT_BEHIND)
def test_what_runs_leave_behind_is_no_change(tmp_path, kind):
    use, text = LEFT_BEHIND[kind]
    text += "def go(x):\n    return note(x)\n" if "note" in text else "def go(x):\n    return x\n"
    flow = FLOW.replace("    return", f"{use}    return")
    with imported(tmp_path, {"flow.py": flow, "lab.py": text}) as made:
        first = key_of(made)
        for x in (1, 2, 3):
            made.task.fn(x)
            assert key_of(made) == first
