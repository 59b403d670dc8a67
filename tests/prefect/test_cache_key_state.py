"""What a task's own runs leave behind does not count; what its source says, and others put there, does."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import textwrap
import threading
import types

import cloudpickle
import pytest

import cpr

STATES = dict(
    re.findall(
        r"^# (.*)\n((?:[^#].*\n)+)",
        """
# memo
CACHE = {}
def h(x):
    if x not in CACHE:
        CACHE[x] = x * <n>
    return CACHE[x]
# memo by setdefault
CACHE = {'k': <n>}
def h(x):
    return CACHE.setdefault(x, x) * CACHE['k']
# memo by get
CACHE = {'k': <n>}
def h(x):
    y = CACHE.get(x)
    if y is None:
        y = CACHE[x] = x * CACHE['k']
    return y
# list
SEEN = [<n>]
def h(x):
    SEEN.append(x)
    return SEEN[0]
# another name
SEEN = [<n>]
def h(x):
    seen = SEEN
    seen.append(x)
    return seen[0]
# made on demand
MADE = None
def h(x):
    global MADE
    if MADE is None:
        MADE = [<n>]
    return MADE
# counter
N = <n>
def h(x):
    global N
    N += 1
    return N
# singleton
class S:
    one = None
    k = <n>
    def __new__(cls):
        if cls.one is None:
            cls.one = super().__new__(cls)
        return cls.one
def h(x):
    return S().k
# singleton of a subclass
class B:
    one = None
    def __new__(cls):
        if cls.one is None:
            cls.one = super().__new__(cls)
        return cls.one
class S(B):
    k = <n>
def h(x):
    return S().k
# counter of a class
class S:
    n = <n>
    def __init__(self):
        S.n += 1
def h(x):
    S()
    return S.n
# counter of its type
class S:
    n = <n>
    def __init__(self):
        type(self).n += 1
def h(x):
    S()
    return S.n
# attribute of a function
def h(x):
    h.calls += 1
    return h.calls
h.calls = <n>
# new attribute of a function
def h(x):
    if not hasattr(h, 'memo'):
        h.memo = [<n>]
    return h.memo
# default
def h(x, c={'k': <n>}):
    c[x] = 1
    return c['k']
# default by a method
def h(x, *, c=[<n>]):
    c.append(x)
    return c[0]
# count
import itertools
IDS = itertools.count(<n>)
def h(x):
    return next(IDS)
# object
class T:
    def __init__(self):
        self.k, self.memo = <n>, {}
    def go(self, x):
        self.memo[x] = self.k
        return self.memo[x]
T1 = T()
def h(x):
    return T1.go(x)
# new attribute of an object
class T:
    k = <n>
    def go(self, x):
        self.last = x
        return self.k
T1 = T()
def h(x):
    return T1.go(x)
# objects of ones own
class P:
    k = <n>
CACHE = {}
def h(x):
    return CACHE.setdefault(x, P()).k
# lru_cache
import functools
@functools.lru_cache
def h(x):
    return x * <n>
# cached_property
import functools
class T:
    @functools.cached_property
    def p(self):
        return <n>
T1 = T()
def h(x):
    return T1.p
# closure
def make():
    memo, k = {}, <n>
    def h(x):
        memo[x] = x
        return memo[x] * k
    return h
h = make()
# nonlocal
def make():
    count = <n>
    def h(x):
        nonlocal count
        count += 1
        return count
    return h
h = make()
""",
        re.MULTILINE,
    )
)


def made(text: str, task: str = "@cpr.task\ndef one(x):\n    return h(x)\n") -> types.ModuleType:
    module = types.ModuleType("made_for_state")
    module.cpr = cpr
    exec(compile(textwrap.dedent(text) + "\n" + task, "made_for_state.py", "exec"), vars(module))
    module.one.source_code = "def one(x): ..."
    return module


def key(task):
    context = types.SimpleNamespace(task=task, task_run=None)
    return cpr.TargetInputs().compute_key(context, {"x": 1}, {})


@pytest.mark.parametrize("state", STATES)
def test_runs_of_the_task_change_no_key_and_an_edit_does(state):
    module = made(STATES[state].replace("<n>", "2"))
    before = key(module.one)
    for x in (1, 2, 2):
        module.one.fn(x)
        assert key(module.one) == before
    assert key(made(STATES[state].replace("<n>", "2")).one) == before
    assert key(made(STATES[state].replace("<n>", "3")).one) != before


CONFIG = "CONFIG = {'k': 2}\ndef h(x):\n    CONFIG.setdefault('mode', 'wrap')\n    return x * CONFIG['k']\n"


def test_what_others_put_there_counts():
    module = made(CONFIG)
    keys = [key(module.one)]
    for k in (3, 4):
        module.one.fn(1)
        module.CONFIG["k"] = k
        keys.append(key(module.one))
        module.one.fn(1)
        assert key(module.one) == keys[-1]
    module.h(1)  # no run of a task
    module.CONFIG = {"k": 2}
    assert key(module.one) not in keys[1:]
    assert len(set(keys)) == 3


def test_what_another_task_puts_there_counts():
    text = "@cpr.task\ndef one(x):\n    return h(x)\n"
    text += "@cpr.task\ndef two(x):\n    CONFIG['k'] = x\n    return CONFIG['k']\n"
    module = made(CONFIG, text)
    keys = set()
    for k in (5, 6):
        key(module.two)
        module.two.fn(k)
        keys.add(key(module.one))
    assert len(keys) == 2


def test_code_that_is_registered_counts():
    text = "TABLE = {{}}\ndef register(f):\n    TABLE['f'] = f\n    return f\n"
    text += "@register\ndef f(x):\n    return x * {n}\n"
    text += "def h(x):\n    register(TABLE['f'])\n    return TABLE['f'](x)\n"
    one, same, other = (made(text.format(n=n)) for n in (2, 2, 3))
    before = key(one.one)
    one.one.fn(1)
    assert before == key(one.one) == key(same.one) != key(other.one)
    one.TABLE["f"] = other.f
    assert key(one.one) != before


def test_while_another_run_of_it_is_at_work_and_when_one_fails():
    text = "CACHE = {}\ndef h(x):\n    CACHE[x] = x\n    WAIT(x)\n    return CACHE[x]\n"
    module = made(text)
    (begun, begin), (goes_on, go_on) = os.pipe(), os.pipe()
    module.WAIT = lambda x: (os.write(begin, b"x"), os.read(goes_on, 1))
    before = key(module.one)
    thread = threading.Thread(target=module.one.fn, args=(1,))
    thread.start()
    assert os.read(begun, 1)
    assert key(module.one) == before
    os.write(go_on, b"x")
    thread.join()
    module.WAIT = lambda x: 1 / 0
    changed = key(module.one)  # WAIT is another function
    with pytest.raises(ZeroDivisionError):
        module.one.fn(2)
    assert key(module.one) == changed


@pytest.mark.parametrize("kind", ["async def", "def", "async def generator", "generator"])
def test_every_kind_of_function(kind):
    give = "yield" if "generator" in kind else "return"
    text = f"CACHE = {{}}\n@cpr.task\n{'async ' * ('async' in kind)}def one(x):\n"
    text += f"    CACHE[x] = x\n    {give} CACHE[x]\n"
    module = made("", text)
    before = key(module.one)
    for x in (1, 2):
        found = module.one.fn(x)
        if kind == "async def":
            asyncio.run(found)
        elif kind == "generator":
            list(found)
        elif kind == "async def generator":

            async def take(found=found):
                return [one async for one in found]

            asyncio.run(take())
        assert key(module.one) == before


def test_it_stays_in_the_process():
    module = made(STATES["counter"].replace("<n>", "1"))
    key(module.one)
    module.one.fn(1)
    assert vars(pickle.loads(cloudpickle.dumps(module.h))).get("_cpr_runs") is None
    key(pickle.loads(cloudpickle.dumps(module.one)))
