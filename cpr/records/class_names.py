"""Names classes in records, and finds a class again by its name.

A record is untrusted. A name leads only to classes of modules that this process has imported
already, or to what the running task's function refers to itself; nothing is imported (but one module of
cpr's own), and no module's `__getattr__` is asked.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from cpr.errors import EncodeError, RecordError, spelled

__all__ = ["find_class", "find_type", "is_plain", "name_of", "name_of_type", "require_no_setters"]

_MAX_DEPTH = 20
# Where `[]` of a class does no more than to remember the arguments.
_GENERIC = frozenset({"builtins", "collections", "collections.abc", "typing", "pydantic.main"})
# Of cpr itself, and light: what it hands out may be in any record.
_OWN = frozenset({"cpr.data.pixels_per_unit"})
_REMEDY = "import the module that defines the class before the result is read"


def name_of(cls: type, field: str) -> str:
    """The name `module:qualname`. Raises EncodeError for a class in a function: it has no lasting name."""
    if "<" in cls.__qualname__:
        raise EncodeError(
            "the class is defined inside a function and cannot be found again",
            field=field,
            expected="a class at the top of a module, or inside another class",
            actual=f"{cls.__module__}:{cls.__qualname__}",
            remedy="move the class to the top of its module",
        )
    return f"{cls.__module__}:{cls.__qualname__}"


def find_class(name: object, scope: Mapping[str, Any]) -> type:
    """Find the class that `name_of` named. Raises RecordError, importing nothing.

    Args:
        name: `module:qualname`.
        scope: global names of the running task's function; in a worker that got the function by
            value, classes of the user's `__main__` are found nowhere else.
    """
    if isinstance(name, str) and name.count(":") == 1:
        module, _, qualname = name.partition(":")
        loaded = importlib.import_module(module) if module in _OWN else sys.modules.get(module)
        for names in (vars(loaded) if loaded is not None else {}, scope):
            found = _walk(names, qualname)
            if isinstance(found, type) and (found.__module__, found.__qualname__) == (module, qualname):
                return found
    raise RecordError(
        "the record names a class that is not there",
        field="class",
        expected="a class of a module that is imported in this process",
        actual=ascii(name)[:200],
        remedy=_REMEDY,
    )


def _walk(names: Mapping[str, Any], qualname: str) -> Any:
    first, *rest = qualname.split(".")
    found = names.get(first)
    for part in rest:
        found = vars(found).get(part) if isinstance(found, type) else None
    return found


def name_of_type(cls: Any, field: str, depth: int = 0) -> Any:
    """A class, parametrised or not (`Box[list[int]]`), as JSON values.

    A plain class is its name; `origin[args]` is `[origin, [args]]`; a union is `["|", [args]]`.
    """
    if depth < _MAX_DEPTH:
        if cls is None or cls is type(None):
            return None
        metadata = getattr(cls, "__pydantic_generic_metadata__", None) or {}
        origin = metadata.get("origin") or typing.get_origin(cls)
        args = metadata.get("args") or typing.get_args(cls)
        if origin in (typing.Union, types.UnionType):
            return ["|", [name_of_type(arg, field, depth + 1) for arg in args]]
        if isinstance(origin, type):
            named = [name_of_type(arg, field, depth + 1) for arg in args]
            return [name_of(origin, field), named]
        if isinstance(cls, type):
            return name_of(cls, field)
    raise EncodeError(
        "the type argument of a generic class cannot be named in a record",
        field=field,
        expected="a class, a union, or a generic of such",
        actual=spelled(cls, 200),
        remedy="derive a class from the generic one, with a name of its own",
    )


def find_type(named: object, scope: Mapping[str, Any], depth: int = 0) -> Any:
    """Find the type that `name_of_type` named. Raises RecordError."""
    if named is None:
        return type(None)
    if isinstance(named, str):
        return find_class(named, scope)
    well_formed = isinstance(named, list) and len(named) == 2 and isinstance(named[1], list) and named[1]
    if not well_formed or depth > _MAX_DEPTH:
        raise RecordError(
            "not the name of a class",
            field="class",
            expected="module:qualname, or [origin, [arguments]]",
            actual=ascii(named)[:200],
            remedy="the record was not written by cpr: delete it, so that its task runs again",
        )
    assert isinstance(named, list)
    args = [find_type(arg, scope, depth + 1) for arg in named[1]]
    if named[0] == "|":
        return functools.reduce(operator.or_, args)
    origin: Any = find_class(named[0], scope)
    _require_plain_generic(origin)
    try:
        return origin[args[0] if len(args) == 1 else tuple(args)]
    except Exception as error:
        # Whatever a class says to foreign arguments, the record is at fault.
        raise RecordError(
            "the class does not take these type arguments",
            field="class",
            expected="the arguments it was stored with",
            actual=f"{type(error).__name__} from {ascii(named)[:200]}",
            remedy="delete the record, so that its task runs again",
        ) from None


def _require_plain_generic(origin: Any) -> None:
    """Raise RecordError for a class whose `[]` runs code of its own."""
    owner = next((c for c in origin.__mro__ if "__class_getitem__" in vars(c)), None)
    if hasattr(type(origin), "__getitem__") or (owner is not None and owner.__module__ not in _GENERIC):
        raise RecordError(
            "not a generic class",
            field="class",
            expected="one that takes type arguments as typing.Generic does",
            actual=ascii(origin)[:200],
            remedy="the record was not written by cpr: delete it, so that its task runs again",
        )


def require_no_setters(cls: type, names: Iterable[str]) -> None:
    """Raise RecordError for a class that runs code when one of these attributes is set."""
    for name in names:
        found = inspect.getattr_static(cls, name, None)
        if hasattr(type(found), "__set__") and not inspect.ismemberdescriptor(found):
            raise RecordError(
                "setting a field of this class runs code",
                field=f"{cls.__qualname__}.{name}",
                expected="a plain attribute",
                actual=type(found).__name__,
                remedy="return another class from the task, or its parts",
            )


def is_plain(cls: Any) -> bool:
    """Whether an instance is only its attributes: created and deleted without running code of its class."""
    if hasattr(cls, "__del__"):
        return False
    try:
        object.__new__(cls)
    except TypeError:
        return False
    return True
