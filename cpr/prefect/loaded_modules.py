"""Whether a module that was imported still is what its file has made it: nobody has put anything else there.

A module that functions import counts by its file, so that a key made before the first run is one made after
it. Where the module was changed while the process runs, what is there counts, not the file. What statements
of literals give is known from the file; all else is compared with what there was when it was first looked at.
Data that the module's own code changes, and the state of objects of installed packages, are theirs.
"""

from __future__ import annotations

import ast
import functools
import types
from collections import Counter
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from cpr.prefect.canonical_form import Describer
from cpr.prefect.class_members import OF_MODULES, OF_NO_MATTER
from cpr.prefect.code_nodes import Node
from cpr.prefect.code_references import MAKERS, facts_of
from cpr.prefect.description_graph import digest
from cpr.prefect.own_code import file_of_module, is_own_class, version_of_file

__all__ = ["is_as_its_file_made_it"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CONTENT = (tuple, list, dict, set, frozenset, bytearray, np.ndarray)
_first: WeakKeyDictionary[types.ModuleType, dict[str, Any]] = WeakKeyDictionary()


def is_as_its_file_made_it(module: types.ModuleType, changed: Collection[str]) -> bool:
    """Whether a module of the user's own holds what it held at first, and the literals of its file.

    Args:
        module: one that was imported.
        changed: names of what others than its own code may have changed in it, and still does not count.
    """
    now = _contents(module)
    first = _first.setdefault(module, now)
    # Objects in them are compared by identity before they are asked.
    is_same = all(first.get(name) == now.get(name) for name in {*first, *now}.difference(changed))
    return is_same and _has_its_literals(module, changed)


def _contents(module: types.ModuleType) -> dict[str, Any]:
    """What is under each name, in a form that can be compared in this process."""
    file = file_of_module(module) or ""
    changed = _changed_by_itself(file, version_of_file(file))
    return {
        name: _content(value, module, changed)
        for name, value in list(vars(module).items())
        if name not in OF_MODULES and name not in changed and not isinstance(value, types.ModuleType)
    }


def _content(value: Any, module: types.ModuleType, changed: Collection[str]) -> Any:
    cls = type(value)
    if cls in _PLAIN or (cls in (tuple, list, dict) and _holds_plain_values(value)):
        return cls, repr(value)
    if cls is types.FunctionType:
        given = [value.__defaults__, value.__kwdefaults__]
        return value, value.__code__, [_content(one, module, changed) for one in given]
    if cls in (staticmethod, classmethod):
        return cls, _content(value.__func__, module, changed)
    if cls is property:
        return [_content(one, module, changed) for one in (value.fget, value.fset, value.fdel)]
    if issubclass(cls, type) and value.__module__ == module.__name__:
        members = {
            name: _content(one, module, changed)
            for name, one in list(vars(value).items())
            if name not in OF_NO_MATTER and name not in changed
        }
        return value, members
    if cls in _CONTENT or (is_own_class(cls) and not _changes_itself(cls)):
        return digest(Describer(lenient=True).describe(value, ""), _label_of)
    return value if issubclass(cls, type) else cls


def _holds_plain_values(value: Any) -> bool:
    values = [*value, *value.values()] if isinstance(value, dict) else value
    return all(type(one) in _PLAIN for one in values)


def _label_of(node: Node) -> list[str]:
    return [node.kind, node.label]


def _changes_itself(cls: type) -> bool:
    """Whether methods of a class change something, so that what its objects hold is their own matter."""
    functions = (getattr(one, "__func__", one) for base in cls.__mro__ for one in vars(base).values())
    return any(
        facts_of(one.__code__).changed
        for one in functions
        if isinstance(one, types.FunctionType) and one.__name__ not in MAKERS
    )


def _has_its_literals(module: types.ModuleType, changed: Collection[str]) -> bool:
    file = file_of_module(module) or ""
    names = vars(module)
    return all(
        type(names.get(name)) is type(value) and names[name] == value
        for name, value in _literals(file, version_of_file(file))
        if name not in changed
    )


@functools.lru_cache(maxsize=256)
def _parsed(file: str, version: str | None) -> tuple[ast.Module, types.CodeType]:
    """A file, parsed and compiled; an empty one if that cannot be."""
    text = b""
    if version is not None:
        with open(file, "rb") as opened:
            text = opened.read()
    try:
        return ast.parse(text), compile(text, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return ast.parse(""), compile("", file, "exec")


@functools.lru_cache(maxsize=256)
def _changed_by_itself(file: str, version: str | None) -> frozenset[str]:
    """Names of variables and attributes that functions of a file change."""
    _, code = _parsed(file, version)
    inside = [facts_of(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return frozenset().union(*(one.changed for one in inside))


@functools.lru_cache(maxsize=256)
def _literals(file: str, version: str | None) -> list[tuple[str, Any]]:
    """Names that a file binds once, to a literal, and whose values its own code does not change."""
    tree, _ = _parsed(file, version)
    if any(isinstance(one, ast.ImportFrom) and one.names[0].name == "*" for one in ast.walk(tree)):
        return []
    bound = Counter(one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and _binds(one))
    changed = _changed_by_itself(file, version).union(*map(_used_by, tree.body))
    return [
        (target.id, value)
        for one in tree.body
        for target, value in _assigned(one)
        if bound[target.id] == 1 and target.id not in changed
    ]


def _binds(one: ast.Name) -> bool:
    return isinstance(one.ctx, (ast.Store, ast.Del))


def _assigned(one: ast.stmt) -> list[tuple[ast.Name, Any]]:
    targets = one.targets if isinstance(one, ast.Assign) else [getattr(one, "target", None)]
    if not isinstance(one, (ast.Assign, ast.AnnAssign)) or one.value is None:
        return []
    try:
        value = ast.literal_eval(one.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return []
    return [(target, value) for target in targets if isinstance(target, ast.Name)]


def _used_by(one: ast.AST) -> frozenset[str]:
    """Names that a statement of the module reads when it is imported, so that it may change what they are."""
    if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        parts: list[ast.AST] = [*one.decorator_list]
        parts += [one.args] if not isinstance(one, ast.ClassDef) else [*one.bases, *one.keywords]
        return frozenset().union(*map(_used_by, parts))
    found = (name for name in ast.walk(one) if isinstance(name, ast.Name) and not _binds(name))
    return frozenset(name.id for name in found)
