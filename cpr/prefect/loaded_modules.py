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
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from cpr.prefect.canonical_form import Describer
from cpr.prefect.code_graph import CodeGraph
from cpr.prefect.code_references import facts_of
from cpr.prefect.description_graph import digest
from cpr.prefect.own_code import file_of_module, is_own_class, version_of_file
from cpr.prefect.run_state import filled_in

__all__ = ["is_as_its_file_made_it"]

_DATA = (type(None), bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, np.ndarray)
_first: WeakKeyDictionary[types.ModuleType, _Look] = WeakKeyDictionary()
_at_work: set[types.ModuleType] = set()


def is_as_its_file_made_it(module: types.ModuleType) -> bool:
    """Whether a module of the user's own holds what it held at first, and the literals of its file."""
    if module in _at_work:  # modules that import each other
        return True
    _at_work.add(module)
    try:
        known = _first.get(module)
        if known is None:
            _first[module] = _Look(module)
        elif not known.holds():
            now = _Look(module)
            if now.digest != known.digest:
                return False
            _first[module] = now
        return _has_its_literals(module)
    finally:
        _at_work.discard(module)


class _Look:
    """What a module consists of."""

    def __init__(self, module: types.ModuleType) -> None:
        graph = CodeGraph(is_unchanged=is_as_its_file_made_it)
        self._describer = describer = Describer(code=graph, lenient=True)
        described = describer.code.code(module)
        describer.code.complete()
        left_out = {label for label, (value, *_) in describer.used.items() if not _is_data(value)}
        left_out.update(filled_in(describer))
        for label in left_out:
            describer.stands_for[label].description = "left out"
        self._data = {
            label: (value, digest(what), one)
            for label, (value, what, one) in describer.used.items()
            if label not in left_out
        }
        describer.code.guards.close()
        self.digest = digest(described)

    def holds(self) -> bool:
        """Whether all of it is as it was."""
        return self._describer.code.holds() and all(
            digest(one.again(value, label)) == what for label, (value, what, one) in self._data.items()
        )


def _is_data(value: Any) -> bool:
    cls = type(value)
    return cls in _DATA or is_own_class(cls)


def _has_its_literals(module: types.ModuleType) -> bool:
    file = file_of_module(module) or ""
    names = vars(module)
    return all(
        type(names.get(name)) is type(value) and names[name] == value
        for name, value in _literals(file, version_of_file(file))
    )


@functools.lru_cache(maxsize=256)
def _literals(file: str, version: str | None) -> list[tuple[str, Any]]:
    """Names that a file binds once, to a literal, and whose values its own code does not change."""
    if version is None:
        return []
    try:
        with open(file, "rb") as opened:
            text = opened.read()
        tree = ast.parse(text)
        code = compile(text, file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    if any(isinstance(one, ast.ImportFrom) and one.names[0].name == "*" for one in ast.walk(tree)):
        return []
    bound = Counter(one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and _binds(one))
    inside = [facts_of(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    changed = frozenset().union(*(one.changed for one in inside), *map(_used_by, tree.body))
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
