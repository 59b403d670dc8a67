"""Finds the user's code inside installed packages: accessors, registered and replaced functions."""

from __future__ import annotations

import abc
import contextlib
import decimal
import functools
import gc
import sys
import types
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from cpr.prefect.code_memo_validity import Guards
from cpr.prefect.own_code import is_own_class, is_own_function

__all__ = [
    "context_of_decimals",
    "held_in_c",
    "own_registered_with",
    "put_into_classes",
    "reached_in",
    "registered_with",
]

# Classes that packages let their users extend by attributes.
_EXTENDED = {
    "pandas": ("DataFrame", "Series", "Index"),
    "xarray": ("DataArray", "Dataset", "DataTree"),
    "polars": ("DataFrame", "LazyFrame", "Series", "Expr"),
    "dask.dataframe": ("DataFrame", "Series", "Index"),
}
_IN_C = (np.ufunc, type(functools.cmp_to_key(max)))
_OF_CONTEXT = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_TRAPPED = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow]


def _is_own_code(value: Any) -> bool:
    """Whether a value is a function or class of the user's own."""
    cls = type(value)
    if cls is types.FunctionType:
        return is_own_function(value)
    return issubclass(cls, type) and is_own_class(value)


def registered_with(cls: type) -> frozenset[type]:
    """The classes registered with an abstract class, which count as its subclasses.

    >>> dict in registered_with(__import__("collections").abc.MutableMapping)
    True
    """
    look = getattr(abc, "_get_dump", None)
    if look is None or "_abc_impl" not in vars(cls):
        return frozenset()
    return frozenset(one for reference in look(cls)[0] if (one := reference()) is not None)


def own_registered_with(cls: type) -> frozenset[type]:
    """The user's own classes among them, except those that were redefined since (as in a notebook)."""
    return frozenset(one for one in registered_with(cls) if is_own_class(one) and not _is_replaced(one))


def _is_replaced(cls: type) -> bool:
    """Whether the module of a class now has something else, or nothing, under its name."""
    module = sys.modules.get(cls.__module__)
    return "<locals>" not in cls.__qualname__ and (
        module is None
        or getattr(module, cls.__qualname__.partition(".")[0], None) is None
        or ("." not in cls.__qualname__ and getattr(module, cls.__qualname__) is not cls)
    )


def reached_in(module: types.ModuleType, attributes: Collection[str], guards: Guards) -> Any:
    """The user's function or class to which attributes of an installed module lead; else None."""
    value: Any = module
    for name in attributes:
        if not isinstance(value, types.ModuleType):
            break
        value = guards.lookup(vars(value), name)
    return value if isinstance(value, type) or _is_own_code(value) else None


def put_into_classes(guards: Guards) -> Iterator[tuple[str, str, Any]]:
    """The user's attributes in installed classes: class, name, and code.

    Accessors of pandas and xarray are such, and functions that were put into a class or replaced there.
    """
    for package, names in _EXTENDED.items():
        loaded = sys.modules.get(package)
        for place in names if loaded is not None else ():
            cls = vars(loaded).get(place)
            for name, code in guards.outcome(_own_in, cls) if isinstance(cls, type) else ():
                yield f"{package}.{place}", name, code


def _own_in(cls: type) -> list[tuple[str, Any]]:
    members = dict(vars(cls))
    known = _known.get(cls)
    if known is None or known[0] != members:
        own = [
            (name, code) for name, value in members.items() for code in filter(_is_own_code, _code_in(value))
        ]
        known = _known[cls] = members, own
    return known[1]


_known: dict[type, tuple[dict[str, Any], list[tuple[str, Any]]]] = {}


def _code_in(value: Any) -> Iterator[Any]:
    """The code in a class attribute: the attribute itself, or what a descriptor stores."""
    if isinstance(value, property):
        yield value.fget
    yield getattr(value, "__func__", value) if isinstance(value, (staticmethod, classmethod)) else value
    if not isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        with contextlib.suppress(TypeError):
            yield from list(vars(value).values())


def held_in_c(value: Any) -> Any:
    """The function inside an object implemented in C: `numpy.frompyfunc`, `functools.cmp_to_key`."""
    if type(value) not in _IN_C:
        return None
    held = [one for one in gc.get_referents(value) if one is not type(value) and type(one) is not dict]
    if not held:
        return None
    return [*held, value.nin, value.nout, value.identity] if isinstance(value, np.ufunc) else held


def context_of_decimals() -> list[str]:
    """The decimal context, which affects decimal arithmetic; empty if it is Python's default.

    >>> context_of_decimals()
    []
    """
    found = _facts(decimal.getcontext())
    return [] if found == _USUAL else found


def _facts(context: decimal.Context) -> list[str]:
    traps = [name.__name__ for name, is_on in context.traps.items() if is_on]
    return [*(f"{name} {getattr(context, name)}" for name in _OF_CONTEXT), *traps]


_USUAL = _facts(decimal.Context(28, decimal.ROUND_HALF_EVEN, -999999, 999999, 1, 0, [], _TRAPPED))
