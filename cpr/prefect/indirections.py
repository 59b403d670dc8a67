"""What a name leads to: through attributes of modules, and inside what packages make of functions."""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

from cpr.prefect.code_guards import MISSING, Guards
from cpr.prefect.own_code import is_own_class, is_own_module
from cpr.prefect.prefect_internals import function_of

__all__ = ["behind", "through_modules"]


def behind(value: Any, guards: Guards) -> Any:
    """The function in an object that installed packages make of one."""
    if is_own_class(type(value)):
        return None
    if isinstance(value, functools.cached_property):
        return value.func
    if isinstance(value, functools.singledispatchmethod):
        return (value.func, value.dispatcher)
    if function_of(value) is not None:
        return guards.attribute(value, "fn")
    return getattr(value, "__dict__", {}).get("__wrapped__")


def through_modules(
    value: Any, attributes: tuple[str, ...], label: str, guards: Guards
) -> tuple[Any, str, str | None] | str:
    """What attributes of modules lead to, its label and module; a text where that is not there yet."""
    home = None
    rest = list(attributes)
    while isinstance(value, types.ModuleType) and rest and is_own_module(value):
        name = rest.pop(0)
        home, label = value.__name__, name
        found = guards.lookup(vars(value), name)
        if found is MISSING:
            found = sys.modules.get(f"{home}.{name}", MISSING)
        if found is MISSING:
            found, label, rest = vars(value).get("__getattr__", MISSING), "__getattr__", []
        if found is MISSING:
            return f"{home}.{name}"
        value = found
    return value, label, home
