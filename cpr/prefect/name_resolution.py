"""Resolves names to objects: through attributes of modules, and inside packages' wrappers of functions."""

from __future__ import annotations

import builtins
import dis
import functools
import itertools
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cpr.prefect.code_memo_validity import MISSING, Guards
from cpr.prefect.code_put_into_packages import held_in_c
from cpr.prefect.code_references import facts_of
from cpr.prefect.code_values import Reference
from cpr.prefect.lazy_imports import is_lazy
from cpr.prefect.own_code import is_own_class, is_own_module
from cpr.prefect.prefect_internals import function_of

__all__ = ["Unbound", "behind", "through_modules", "unseen_code_in"]

# What brings in code under a name that may be computed: where it is, and what it is called.
_BRING_CODE = {
    "builtins": ("eval", "exec", "globals", "__import__"),
    "importlib": ("import_module", "__import__"),
    "importlib.machinery": ("SourceFileLoader", "ExtensionFileLoader"),
    "importlib.metadata": ("entry_points",),
    "importlib.util": ("spec_from_file_location",),
    "ctypes": ("CDLL", "cdll"),
    "pkgutil": ("iter_modules", "resolve_name", "walk_packages"),
    "runpy": ("run_module", "run_path"),
    "sys": ("modules",),
}


@dataclass(frozen=True)
class Unbound:
    """An attribute that a module of the user's own provides only on demand."""

    module: types.ModuleType
    name: str


def unseen_code_in(function: types.FunctionType, names: Mapping[str, Any], one: Reference) -> str | None:
    """Where and how a function gets code by a computed name; None if it does not."""
    value = names.get(one.name, getattr(builtins, one.name, None))
    for attribute in one.attributes:
        if not isinstance(value, types.ModuleType):
            break
        value = vars(value).get(attribute)
    _, called = _called(tuple(place in sys.modules for place in _BRING_CODE)).get(id(value), (None, None))
    # A package that loads its modules when it is asked for them counts with all of them.
    if called is None or (function.__name__ == "__getattr__" and "__path__" in function.__globals__):
        return None
    if one not in facts_of(function.__code__).reads:
        return None
    return f"line {_line_of(function.__code__, [one.name, *one.attributes][-1])}: {called}"


def _line_of(code: types.CodeType, name: str) -> int:
    """The first line where code, nested functions included, uses a name."""
    for one in dis.get_instructions(code):
        if one.argval == name and one.positions is not None and one.positions.lineno:
            return one.positions.lineno
    inside = [_line_of(one, name) for one in code.co_consts if isinstance(one, types.CodeType)]
    return next(filter(None, inside), 0)


@functools.lru_cache(maxsize=16)
def _called(loaded: tuple[bool, ...]) -> dict[int, tuple[Any, str]]:
    places = itertools.compress(_BRING_CODE, loaded)
    return {
        id(value): (value, name if place == "builtins" else f"{place}.{name}")
        for place in places
        for name in _BRING_CODE[place]
        for value in [vars(sys.modules[place]).get(name)]
        if value is not None
    }


def behind(value: Any, guards: Guards) -> Any:
    """The function inside an installed package's wrapper."""
    if is_own_class(type(value)):
        return None
    if isinstance(value, functools.cached_property):
        return value.func
    if isinstance(value, functools.singledispatchmethod):
        return (value.func, value.dispatcher)
    if function_of(value) is not None:
        return guards.attribute(value, "fn")
    if isinstance(value, functools.partial) and "__wrapped__" in value.__dict__:
        # functools.update_wrapper names a function, and says nothing of what is bound.
        return (value.func, value.args, value.keywords)
    if type(value).__qualname__ == "vectorize" and type(value).__module__ == "numpy":
        return [value.pyfunc, value.otypes, value.excluded, value.signature]
    held = held_in_c(value)
    return getattr(value, "__dict__", {}).get("__wrapped__") if held is None else held


def through_modules(
    value: Any, attributes: tuple[str, ...], label: str, guards: Guards
) -> tuple[Any, str, str | None, int]:
    """Resolve attributes of modules: value, label, module, and how many attributes were used.

    What a module has not got is `Unbound`.
    """
    home = None
    steps = 0
    for name in attributes:
        if not isinstance(value, types.ModuleType) or not is_own_module(value):
            break
        home, label, steps = value.__name__, name, steps + 1
        found = guards.lookup(vars(value), name)
        if is_lazy(value, name, found is not MISSING):
            return Unbound(value, name), label, home, steps
        value = sys.modules.get(f"{home}.{name}", Unbound(value, name)) if found is MISSING else found
    return value, label, home, steps
