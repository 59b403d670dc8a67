"""What the keys after the first one cost: counted in calls, which do not depend on the machine."""

from __future__ import annotations

import sys
import types

import pytest
from prefect.cache_policies import TASK_SOURCE

import cpr
from tests.prefect.projects import imported

MODULES, FUNCTIONS = 10, 10
_NAMES = ", ".join(f"function{index}" for index in range(FUNCTIONS))
BODY = "".join(f"    from module{number} import {_NAMES}\n" for number in range(MODULES))
FLOWS = {
    "imports at the head": ("from module9 import function9", "", "function9(x)"),
    "imports in the body": ("", BODY, "function9(x)"),
    "through the module": ("import module9", "", "module9.function9(x)"),
    "methods": ("import module9", "", "module9.Of().method9(x)"),
    "decorated": ("import module9", "", "module9.decorated(x)"),
}


def files(head: str, body: str, use: str) -> dict[str, str]:
    found = {
        "flow.py": f"import cpr\n{head}\n@cpr.task\ndef task(x):\n    total = 0\n{body}    return {use}\n"
    }
    for number in range(MODULES):
        below = f"module{number - 1}" if number else ""
        text = [f"import {below}" if number else "", f"LIMIT = {number}", f"CONFIG = {{'a': [1, {number}]}}"]
        methods = ["class Of:"]
        for index in range(FUNCTIONS):
            last = f"{below}.function9(x)" if number else "x"
            called = f"function{index - 1}(x)" if index else last
            text.append(
                f"def function{index}(x, k={index}):\n    return {called} * LIMIT + CONFIG['a'][1] * k"
            )
            last = f"{below}.Of().method9(x)" if number else "x"
            called = f"self.method{index - 1}(x)" if index else last
            methods.append(f"    def method{index}(self, x, k={index}):\n        return {called} * LIMIT + k")
        wrapped = "def wrap(f):\n    def inner(x):\n        return f(x) + LIMIT\n    return inner"
        last = f"{below}.decorated(x)" if number else "function9(x)"
        text += [*methods, wrapped, f"@wrap\ndef decorated(x):\n    return {last}"]
        found[f"module{number}.py"] = "\n".join(text) + "\n"
    return found


@pytest.mark.parametrize("kind", FLOWS)
def test_calls_of_a_later_key(tmp_path, kind):
    calls = 0

    def count(_frame, event, _arg):
        nonlocal calls
        calls += event in ("call", "c_call")

    with imported(tmp_path, files(*FLOWS[kind])) as flow:
        context = types.SimpleNamespace(task=flow.task, task_run=None)
        policy = cpr.TargetInputs() + TASK_SOURCE
        first = policy.compute_key(context, {"x": 1}, {})
        flow.task.fn(1)
        assert policy.compute_key(context, {"x": 1}, {}) == first
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            policy.compute_key(context, {"x": 2}, {})
        finally:
            sys.setprofile(before)
    assert calls < 8000  # a millisecond or two; anew for each import and module, it was 42,000
