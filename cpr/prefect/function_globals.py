"""What a task's function uses besides its arguments and its own text, and what therefore counts in a key.

The values of its closure, whatever they are, unless the function itself changes them in place (a list
that it appends to is where it writes, not what it reads). Of the names of its module: constants (numbers,
texts, tuples, members of enums) and functions of the same module, with all that those use in turn. Not
counted: lists, dicts and other objects of a module, classes, and whatever is imported.
"""

from __future__ import annotations

import ast
import dis
import enum
import functools
import textwrap
import types
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from cpr.prefect.source_code import unwrapped

__all__ = ["uses_of"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CHANGING = frozenset(
    "add append appendleft clear discard extend insert pop popleft popitem put put_nowait remove reverse"
    " setdefault sort update write".split()
)
_MOST = 256


def uses_of(function: Any, source: str | None = None) -> dict[str, Any]:
    """What a function uses, by name; see the module.

    Args:
        function: any callable.
        source: its text, if there is one.
    """
    function = unwrapped(function)
    if not isinstance(function, types.FunctionType):
        return {}
    found = {name: _behind(value) for name, value in _closure(function)}
    for name in _changed_in(source) & set(found):
        del found[name]
    waiting = [function, *(value for value in found.values() if _is_of_module(value, function))]
    while waiting and len(found) < _MOST:
        for name, given in _globals(waiting.pop()):
            value = _behind(given)
            if name in found or value is function:
                continue
            if _is_of_module(value, function):
                waiting.append(value)
            elif not _is_constant(value):
                continue
            found[name] = value
    return found


def _closure(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if _behind(value) is not function:
            yield name, value


def _globals(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    names = function.__globals__
    for name in sorted(_read_by(function.__code__)):
        if name in names:
            yield name, names[name]


_known: WeakKeyDictionary[types.CodeType, frozenset[str]] = WeakKeyDictionary()


def _read_by(code: types.CodeType) -> frozenset[str]:
    """Global names that code reads and does not itself assign, functions inside of it included."""
    if code not in _known:
        read, assigned = set(), set()
        waiting = [code]
        while waiting:
            one = waiting.pop()
            waiting += [constant for constant in one.co_consts if isinstance(constant, types.CodeType)]
            for instruction in dis.get_instructions(one):
                if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                    read.add(instruction.argval)
                elif instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                    assigned.add(instruction.argval)
        _known[code] = frozenset(read - assigned)
    return _known[code]


def _behind(value: Any) -> Any:
    """The function of a task, or that decorators have wrapped; anything else as it is."""
    function = getattr(value, "fn", value) if _is_task(value) else value
    inner = unwrapped(function) if callable(function) and not isinstance(function, type) else function
    return inner if isinstance(inner, types.FunctionType) else value


def _is_task(value: Any) -> bool:
    return any(cls.__module__.partition(".")[0] == "prefect" for cls in type(value).__mro__)


def _is_of_module(value: Any, function: types.FunctionType) -> bool:
    return isinstance(value, types.FunctionType) and value.__module__ == function.__module__


def _is_constant(value: Any) -> bool:
    if type(value) in (tuple, frozenset):
        return all(map(_is_constant, value))
    return type(value) in _PLAIN or isinstance(value, enum.Enum)


@functools.lru_cache(maxsize=256)
def _changed_in(source: str | None) -> frozenset[str]:
    """Names whose objects a function changes in place: by a method that does so, or by their items."""
    try:
        tree = ast.parse(textwrap.dedent(source or ""))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    changed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            inside: ast.expr | None = node.func.value if node.func.attr in _CHANGING else None
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            inside = node.value
        else:
            continue
        while isinstance(inside, (ast.Subscript, ast.Attribute)):
            inside = inside.value
        if isinstance(inside, ast.Name):
            changed.add(inside.id)
    return frozenset(changed)
