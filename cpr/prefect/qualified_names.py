"""Names of functions, classes and annotations that are the same in every process."""

from __future__ import annotations

import re
import typing
from typing import Any

__all__ = ["name_of", "text_of_annotation", "type_name"]


def name_of(value: Any) -> str:
    """Module and name of a function, class or module."""
    module = getattr(value, "__module__", None)
    module = "__main__" if module == "__mp_main__" else module
    return f"{module}:{getattr(value, '__qualname__', None) or value.__name__}"


def type_name(cls: Any) -> Any:
    """Name of a class, parametrised or not; pydantic assigns `Box[int]` to the module that used it first."""
    places = (vars(one) for one in getattr(cls, "__mro__", ())[:1])
    metadata = next((one.get("__pydantic_generic_metadata__") for one in places), None) or {}
    origin = metadata.get("origin") or typing.get_origin(cls)
    if origin is None:
        return name_of(cls) if isinstance(cls, type) else repr(cls)
    return [type_name(origin), [type_name(arg) for arg in metadata.get("args") or typing.get_args(cls)]]


def text_of_annotation(annotation: Any) -> str:
    """An annotation as text, without memory addresses."""
    if isinstance(annotation, str):
        return annotation
    origin = typing.get_origin(annotation)
    if origin is not None and origin is not annotation:  # `Generic` is its own
        inside = repr if origin is typing.Literal else text_of_annotation
        return f"{text_of_annotation(origin)}[{', '.join(map(inside, typing.get_args(annotation)))}]"
    return getattr(annotation, "__qualname__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(annotation))
