"""Finds the user's classes, functions and data in annotations, since code acts on them.

Code acts on them: pydantic makes objects of the classes that fields name, loaders ask for type hints. Names
in texts are looked up where the code stands; nothing is run or imported.
"""

from __future__ import annotations

import builtins
import typing
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from cpr.prefect.code_memo_validity import MISSING, Guards
from cpr.prefect.code_references import facts_of
from cpr.prefect.name_resolution import Unbound, through_modules
from cpr.prefect.own_code import is_own_class
from cpr.prefect.qualified_names import text_of_annotation

__all__ = ["texts_of", "values_in_annotations"]

_OF_VARIABLES = ("__bound__", "__constraints__", "__default__", "__supertype__", "__value__")


def texts_of(annotations: Mapping[str, Any]) -> dict[str, str]:
    """The annotations as text, by name."""
    return {name: text_of_annotation(one) for name, one in annotations.items()}


def values_in_annotations(annotations: Any, names: Mapping[str, Any], guards: Guards) -> Iterator[Any]:
    """The classes, functions and data in annotations, each once.

    Args:
        annotations: any number of them, as they stand in code or as texts.
        names: of the module where they stand.
        guards: records which names were looked up.
    """
    waiting: list[Any] = list(annotations)
    known: list[Any] = []
    while waiting:
        one = waiting.pop(0)
        if one is None or any(one is other for other in known):
            continue
        known.append(one)
        origin = typing.get_origin(one)
        if isinstance(one, str):
            waiting += _named_in(one, names, guards)
        elif isinstance(one, typing.ForwardRef):
            waiting.append(one.__forward_arg__)
        elif hasattr(one, "__metadata__"):
            yield from one.__metadata__
            waiting.append(one.__origin__)
        elif isinstance(one, (list, tuple)):  # of Callable, and of the constraints of a variable
            waiting += one
        elif origin is not None:
            waiting += [origin, *(typing.get_args(one) if origin is not typing.Literal else ())]
        elif isinstance(one, type):
            yield from [one] if is_own_class(one) else ()
        elif not type(one).__module__.startswith("typing"):
            yield one
        else:
            for attribute in _OF_VARIABLES:
                with suppress(Exception):  # what a `type` statement says is computed when it is asked for
                    waiting.append(getattr(one, attribute))


def _named_in(text: str, names: Mapping[str, Any], guards: Guards) -> Iterator[Any]:
    try:
        code = compile(text.strip(), "<annotation>", "eval", dont_inherit=True)
    except (SyntaxError, ValueError):
        return
    for one in facts_of(code).reads:
        value = guards.lookup(names, one.name)
        if value is MISSING or hasattr(builtins, one.name):
            continue
        value, *_ = through_modules(value, one.attributes, one.name, guards)
        if not isinstance(value, Unbound):
            yield value
