"""What classes and objects consist of that is not written in their bodies, or does not count."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any, Literal

from cpr.prefect.own_code import is_own_class, is_own_function, is_python_class

__all__ = [
    "BUILT_IN",
    "OF_DISPATCH",
    "OF_NO_MATTER",
    "SLOTS",
    "Kind",
    "asks_for_subclasses",
    "chooses_its_state",
    "derived_attributes",
    "fields_of",
    "holds_more_than_attributes",
    "is_container",
    "is_found",
    "is_generated",
    "is_own_code",
    "kind_of",
    "state_of",
]

Kind = Literal["function", "class", "module"]

BUILT_IN = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.MethodWrapperType,
)
SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
OF_NO_MATTER = frozenset(
    "__module__ __doc__ __dict__ __weakref__ __qualname__ __firstlineno__ __static_attributes__ __slotnames__"
    " __abstractmethods__ _abc_impl __orig_bases__ __parameters__ __dataclass_fields__ __dataclass_params__"
    " __annotations__ __annotations_cache__ __annotate__ __annotate_func__ __classcell__"
    " __signature__ __class_vars__ _cpr_runs".split()
)

OF_DISPATCH = frozenset({"dispatch_cache", "cache_token"})  # what singledispatch has looked up already

_OF_PICKLE = frozenset({"__getstate__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__"})
_OF_FIELDS = (
    "alias",
    "validation_alias",
    "serialization_alias",
    "init",
    "frozen",
    "exclude",
    "validate_default",
)


def is_found(function: types.FunctionType) -> bool:
    """Whether a function is what its module has under its name."""
    found: Any = sys.modules.get(function.__module__ or "")
    for name in function.__qualname__.split("."):
        found = (
            getattr(found, name, None)
            if isinstance(found, type)
            else getattr(found, "__dict__", {}).get(name)
        )
    return getattr(found, "__func__", found) is function


def kind_of(code: Any) -> Kind:
    """What a piece of code is."""
    if isinstance(code, type):
        return "class"
    return "module" if isinstance(code, types.ModuleType) else "function"


def is_container(value: Any) -> bool:
    """Whether a change of it is no more than that: its methods and attributes are no code of the user's."""
    is_code = isinstance(value, (types.FunctionType, types.MethodType, types.ModuleType, type, *BUILT_IN))
    return not is_code and not is_own_class(type(value))


def is_own_code(value: Any) -> bool:
    """Whether it is a function of the user's own, as it stands in a class."""
    function = getattr(value, "__func__", value)
    return isinstance(function, types.FunctionType) and is_own_function(function)


def asks_for_subclasses(value: Any) -> bool:
    """Whether a member of a class looks for the classes that come from it."""
    function = getattr(value, "__func__", value)
    return isinstance(function, types.FunctionType) and "__subclasses__" in function.__code__.co_names


def is_generated(value: Any) -> bool:
    """Whether dataclasses have written it."""
    return isinstance(value, types.FunctionType) and value.__code__.co_qualname.startswith("__create_fn__.")


def fields_of(cls: type, describe: Callable[[Any, str], Any]) -> Iterator[Any]:
    """The fields of a dataclass or a pydantic model, with their defaults."""
    if any("__dataclass_fields__" in vars(one) for one in cls.__mro__):
        for one in dataclasses.fields(cls):
            defaults = [
                None if isinstance(value, type(dataclasses.MISSING)) else describe(value, one.name)
                for value in (one.default, one.default_factory)
            ]
            yield [
                one.name,
                defaults,
                one.init,
                one.kw_only,
                one.compare,
                describe(dict(one.metadata), one.name),
            ]
    for name, one in (vars(cls).get("__pydantic_fields__") or {}).items():
        parts = (
            one.default,
            one.default_factory,
            *one.metadata,
            *(getattr(one, more, None) for more in _OF_FIELDS),
        )
        yield [name, [describe(part, name) for part in parts]]
    decorators = vars(cls).get("__pydantic_decorators__")
    for kind in dataclasses.fields(decorators) if decorators is not None else ():
        found = getattr(decorators, kind.name)
        yield [
            kind.name,
            {name: describe(one.info, name) for name, one in found.items() if hasattr(one, "info")},
        ]


@lru_cache(maxsize=1024)
def derived_attributes(cls: Any) -> frozenset[str]:
    """Attributes that a class computes from others and keeps."""
    found = (
        name for one in cls.__mro__ for name, value in vars(one).items() if isinstance(value, cached_property)
    )
    return frozenset(found)


@lru_cache(maxsize=1024)
def holds_more_than_attributes(cls: Any) -> bool:
    """Whether objects of a class hold items, a text or a number besides attributes, as lists do."""
    return next(one for one in cls.__mro__ if not is_python_class(one)) is not object


@lru_cache(maxsize=1024)
def chooses_its_state(cls: Any) -> bool:
    """Whether a class of the user's own says itself what of its objects goes to another process."""
    return any(not _OF_PICKLE.isdisjoint(vars(one)) for one in cls.__mro__ if is_own_class(one))


def state_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, in slots too, without what it computes from them and keeps."""
    cls: Any = type(value)
    derived = derived_attributes(cls)
    slots = {name: getattr(value, name, _MISSING) for name in _slots_of(cls)}
    found = {**getattr(value, "__dict__", {}), **slots}
    return {name: one for name, one in found.items() if name not in derived and one is not _MISSING}


_MISSING = object()


@lru_cache(maxsize=1024)
def _slots_of(cls: Any) -> tuple[str, ...]:
    """Names of attributes that are in slots of the user's own classes."""
    found = []
    for one in cls.__mro__:
        slots = vars(one).get("__slots__", ()) if is_own_class(one) else ()
        for name in [slots] if isinstance(slots, str) else slots:
            is_private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{one.__name__.lstrip('_')}{name}" if is_private else name)
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))
