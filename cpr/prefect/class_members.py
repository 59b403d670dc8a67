"""Members of classes and objects that need special treatment in cache keys."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal

from cpr.prefect.own_code import is_own_class, is_python_class

__all__ = [
    "BUILT_IN",
    "OF_DISPATCH",
    "OF_ENUM",
    "OF_MEMBER",
    "OF_MODULES",
    "OF_NO_MATTER",
    "SLOTS",
    "Kind",
    "annotations_of_fields",
    "asks_for_subclasses",
    "chooses_its_state",
    "derived_attributes",
    "fields_of",
    "holds_more_than_attributes",
    "is_found",
    "is_generated",
    "is_no_code",
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

# What enum keeps of its members, which count themselves, and writes into a class.
OF_ENUM = frozenset(
    "_member_names_ _member_map_ _value2member_map_ _member_type_ _value_repr_ _use_args_ _unhashable_values_"
    " _hashable_values_ _unhashable_values_map_ _new_member_ _flag_mask_ _all_bits_ _singles_mask_ _inverted_"
    " _ignore_ __new_member__ __members__".split()
)
OF_MEMBER = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"})
# What imports write into a module.
OF_MODULES = frozenset(
    "__name__ __doc__ __package__ __loader__ __spec__ __file__ __cached__ __path__ __builtins__"
    " __annotations__ __annotate__ __conditional_annotations__ __warningregistry__".split()
)
OF_DISPATCH = frozenset({"dispatch_cache", "cache_token"})  # what singledispatch has looked up already

_OF_PICKLE = frozenset({"__getstate__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__"})
_OF_DATACLASS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen", "match_args")
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
    """The kind of a piece of code: function, class or module."""
    if isinstance(code, type):
        return "class"
    return "module" if isinstance(code, types.ModuleType) else "function"


def is_no_code(value: Any, depth: int, called: bool) -> bool:
    """Whether a change at some depth inside a value cannot run code of the user's own.

    Args:
        value: where the steps begin.
        depth: how many items or attributes lie between.
        called: whether it is changed by calling a method of its own.
    """
    level = [value]
    for _ in range(depth):
        level = [inner for one in level for inner in _inside(one)]
    return not any(
        isinstance(one, _CODE) or is_own_class(type(one)) or (called and _holds_code(one)) for one in level
    )


_CODE = (types.FunctionType, types.MethodType, types.ModuleType, type, *BUILT_IN)
_CONTAINERS = (list, tuple, set, frozenset, deque)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, _CONTAINERS):
        return list(value)
    return [] if isinstance(value, _CODE) else [*getattr(value, "__dict__", {}).values()]


def _holds_code(value: Any) -> bool:
    """Whether a called method may be the user's code, stored as an attribute."""
    held = () if isinstance(value, (dict, *_CONTAINERS)) else getattr(value, "__dict__", {}).values()
    return any(
        isinstance(one, (types.FunctionType, types.MethodType)) or is_own_class(type(one)) for one in held
    )


def asks_for_subclasses(value: Any) -> bool:
    """Whether a member of a class looks up the subclasses."""
    function = getattr(value, "__func__", value)
    return isinstance(function, types.FunctionType) and "__subclasses__" in function.__code__.co_names


def is_generated(value: Any) -> bool:
    """Whether dataclasses generated it."""
    return isinstance(value, types.FunctionType) and value.__code__.co_qualname.startswith("__create_fn__.")


def fields_of(cls: type, describe: Callable[[Any, str], Any]) -> Iterator[Any]:
    """The fields of a dataclass or a pydantic model, with their defaults."""
    flags = vars(cls).get("__dataclass_params__")
    if flags is not None:
        yield [getattr(flags, name, None) for name in _OF_DATACLASS]
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
                one.repr,
                one.hash,
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


def annotations_of_fields(cls: type) -> list[Any]:
    """The annotations of a pydantic model's fields, as pydantic resolved them."""
    return [one.annotation for one in (vars(cls).get("__pydantic_fields__") or {}).values()]


@lru_cache(maxsize=1024)
def derived_attributes(cls: Any) -> frozenset[str]:
    """Attributes that a class computes from others and caches."""
    found = (
        name for one in cls.__mro__ for name, value in vars(one).items() if isinstance(value, cached_property)
    )
    return frozenset(found)


@lru_cache(maxsize=1024)
def holds_more_than_attributes(cls: Any) -> bool:
    """Whether objects of a class contain items, a text or a number, as lists do."""
    return next(one for one in cls.__mro__ if not is_python_class(one)) is not object


@lru_cache(maxsize=1024)
def chooses_its_state(cls: Any) -> bool:
    """Whether a class of the user's own defines how its objects are pickled."""
    return any(not _OF_PICKLE.isdisjoint(vars(one)) for one in cls.__mro__ if is_own_class(one))


def state_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, including slots, without cached ones."""
    cls: Any = type(value)
    derived = derived_attributes(cls)
    slots = {name: getattr(value, name, _MISSING) for name in _slots_of(cls)}
    found = {**getattr(value, "__dict__", {}), **slots}
    return {name: one for name, one in found.items() if name not in derived and one is not _MISSING}


_MISSING = object()


@lru_cache(maxsize=1024)
def _slots_of(cls: Any) -> tuple[str, ...]:
    """Names of the slots in the user's own classes."""
    found = []
    for one in cls.__mro__:
        slots = vars(one).get("__slots__", ()) if is_own_class(one) else ()
        for name in [slots] if isinstance(slots, str) else slots:
            is_private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{one.__name__.lstrip('_')}{name}" if is_private else name)
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))
