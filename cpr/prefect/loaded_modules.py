"""Checks that an imported module is still what its file made it, and was not changed from outside.

A module that functions import counts by its file, so that a key made before the first run equals one made
after it. If the module was changed while the process runs, its present content counts, not the file. Values
of literal assignments are known from the file; everything else is compared with its first observed value.
Data that the module's own code changes, and the state of objects of installed packages, are not compared.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import types
from collections.abc import Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from cpr.prefect.canonical_form import Describer
from cpr.prefect.class_members import OF_MODULES, OF_NO_MATTER
from cpr.prefect.code_memo_validity import Guards
from cpr.prefect.code_nodes import label_of
from cpr.prefect.code_references import MAKERS, facts_of
from cpr.prefect.description_graph import digest
from cpr.prefect.lazy_imports import code_of_file, names_bound_by
from cpr.prefect.own_code import file_of_module, is_own_class, version_of_file

__all__ = ["is_as_its_file_made_it"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CONTENT = (tuple, list, dict, set, frozenset, bytearray, np.ndarray)
_DEEPEST = 8  # containers in containers that are compared as texts


def is_as_its_file_made_it(module: types.ModuleType, changed: Collection[str]) -> bool:
    """Whether a module still holds its first content, and the literals in its file.

    Args:
        module: one that was imported.
        changed: names of what others than its own code may have changed in it, and still does not count.
    """
    file = file_of_module(module) or ""
    version = version_of_file(file)
    now = _last.get(module)
    if now is None or not now.holds(version):
        now = _last[module] = _Contents(module, file, version)
    return now.is_first(_first.setdefault(module, now.names), frozenset(changed))


class _Contents:
    """The content of a module, by name, in a form that can be compared within this process.

    Attributes:
        names: that form, by name; not of what the module's own code changes.
    """

    def __init__(self, module: types.ModuleType, file: str, version: str | None) -> None:
        self._module = module.__name__
        self._space = vars(module)
        self._file = file
        self._version = version
        self._changed = _changed_by_itself(file, version)
        self._guards = Guards()
        self._data: list[tuple[Any, Any]] = []  # what can change in place, and its form
        self._outcomes: dict[frozenset[str], bool] = {}
        self.names = {
            name: self._form(value)
            for name, value in self._guards.items(self._space, but=OF_MODULES | self._changed).items()
            if not isinstance(value, types.ModuleType)
        }

    def holds(self, version: str | None) -> bool:
        """Whether everything is unchanged, given this version of the file."""
        return (
            self._version == version
            and self._guards.hold()
            and all(_form_of_data(value) == form for value, form in self._data)
        )

    def is_first(self, first: Mapping[str, Any], changed: frozenset[str]) -> bool:
        """Whether everything except some names is as at first, and literals are as in the file."""
        found = self._outcomes.get(changed)
        if found is None:
            # Objects in them are compared by identity before they are asked.
            names = {*first, *self.names}.difference(changed)
            found = self._outcomes[changed] = all(
                first.get(name) == self.names.get(name) for name in names
            ) and self._has_its_literals(changed)
        return found

    def _has_its_literals(self, changed: frozenset[str]) -> bool:
        return all(
            type(self._space.get(name)) is type(value) and self._space[name] == value
            for name, value in _literals(self._file, self._version)
            if name not in changed
        )

    def _form(self, value: Any) -> Any:
        cls = type(value)
        if cls in _PLAIN:
            return cls, repr(value)
        if cls is types.FunctionType:
            code = self._guards.attribute(value, "__code__")
            given = [self._guards.attribute(value, name) for name in ("__defaults__", "__kwdefaults__")]
            return value, code, [self._form(one) for one in given]
        if cls in (staticmethod, classmethod):
            return cls, self._form(value.__func__)
        if cls is property:
            return [self._form(one) for one in (value.fget, value.fset, value.fdel)]
        if issubclass(cls, type) and value.__module__ == self._module:
            members = self._guards.items(vars(value), but=OF_NO_MATTER | self._changed)
            return value, {name: self._form(one) for name, one in members.items()}
        if cls in _CONTENT or (is_own_class(cls) and not _changes_itself(cls)):
            form = _form_of_data(value)
            self._data.append((value, form))
            return form
        return value if issubclass(cls, type) else cls


_first: WeakKeyDictionary[types.ModuleType, Mapping[str, Any]] = WeakKeyDictionary()
_last: WeakKeyDictionary[types.ModuleType, _Contents] = WeakKeyDictionary()


def _form_of_data(value: Any) -> Any:
    if _is_plain(value, _DEEPEST):
        return type(value), repr(value)
    return digest(Describer(lenient=True).describe(value, ""), label_of)


def _is_plain(value: Any, deepest: int) -> bool:
    """Whether a value is completely described by its text."""
    cls = type(value)
    if cls is dict:
        return deepest > 0 and all(
            type(name) in _PLAIN and (type(one) in _PLAIN or _is_plain(one, deepest - 1))
            for name, one in value.items()
        )
    if cls is list or cls is tuple:
        return deepest > 0 and all(type(one) in _PLAIN or _is_plain(one, deepest - 1) for one in value)
    return cls in _PLAIN


def _changes_itself(cls: type) -> bool:
    """Whether methods of a class modify its objects, whose content is then ignored."""
    functions = (getattr(one, "__func__", one) for base in cls.__mro__ for one in vars(base).values())
    return any(
        facts_of(one.__code__).changed
        for one in functions
        if isinstance(one, types.FunctionType) and one.__name__ not in MAKERS
    )


@functools.lru_cache(maxsize=256)
def _changed_by_itself(file: str, version: str | None) -> frozenset[str]:  # noqa: ARG001 - that of the code
    """Names of variables and attributes that a file's functions modify."""
    code = code_of_file(file)
    inside = [] if code is None else [facts_of(one) for one in code.co_consts if type(one) is types.CodeType]
    return frozenset().union(*(one.changed for one in inside))


@functools.lru_cache(maxsize=256)
def _literals(file: str, version: str | None) -> list[tuple[str, Any]]:
    """Names that a file binds once, to a literal, and never modifies."""
    code = code_of_file(file)
    if code is None or (bound := names_bound_by(code)) is None:
        return []
    changed = _changed_by_itself(file, version) | _used_by(code)
    try:
        with open(file, "rb") as opened:
            tree = ast.parse(opened.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    return [
        (target.id, value)
        for one in tree.body
        for target, value in _assigned(one)
        if bound[target.id] == 1 and target.id not in changed
    ]


def _assigned(one: ast.stmt) -> list[tuple[ast.Name, Any]]:
    targets = one.targets if isinstance(one, ast.Assign) else [getattr(one, "target", None)]
    if not isinstance(one, (ast.Assign, ast.AnnAssign)) or one.value is None:
        return []
    try:
        value = ast.literal_eval(one.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return []
    return [(target, value) for target in targets if isinstance(target, ast.Name)]


def _used_by(code: types.CodeType) -> frozenset[str]:
    """Names that a module reads while it is imported, and may modify."""
    if code.co_name.startswith("<") and code.co_name != "<module>":  # a comprehension, or a lambda
        return frozenset(code.co_names)
    if code.co_flags & inspect.CO_OPTIMIZED:
        return frozenset()
    names = (one.argval for one in dis.get_instructions(code) if one.opname == "LOAD_NAME")
    inside = (one for one in code.co_consts if type(one) is types.CodeType)
    return frozenset(names).union(*map(_used_by, inside))
