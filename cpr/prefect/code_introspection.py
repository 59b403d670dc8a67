"""Values that code can ask of functions and classes besides calling them: name, docstring, order of members.

Most code never asks for these values, so they count only if code that counts asks for them.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Collection
from typing import Any

from cpr.prefect.annotations import texts_of
from cpr.prefect.class_members import OF_MODULES, OF_NO_MATTER
from cpr.prefect.code_memo_validity import MISSING, Guards
from cpr.prefect.qualified_names import name_of

__all__ = ["answers"]

_OF_CALLING = frozenset("__annotations__ get_annotations get_type_hints signature getfullargspec".split())
_OF_NO_ORDER = OF_NO_MATTER | OF_MODULES
_ASKED = {
    "name": frozenset({"__name__", "__qualname__"}),
    "place": frozenset({"__module__"}),
    "doc": frozenset({"__doc__", "getdoc"}),
    "annotations": _OF_CALLING,
    "source": frozenset({"getsource", "getsourcelines"}),
    "order": frozenset({"__dict__", "vars"}),
}


def answers(value: Any, asked: Collection[str], guards: Guards) -> dict[str, Any]:
    """The values of the attributes that code asks for.

    Args:
        value: the piece of code.
        asked: names by which code asks, of `ASKED`.
        guards: records which attributes were looked up.
    """
    kinds = {kind for kind, names in _ASKED.items() if not names.isdisjoint(asked)}
    found: dict[str, Any] = {}
    if "name" in kinds:
        names = [guards.attribute(value, name) for name in ("__name__", "__qualname__")]
        found["name"] = [None if name is MISSING else str(name) for name in names]
    if "place" in kinds:
        guards.attribute(value, "__module__")
        found["place"] = name_of(value).partition(":")[0]
    if "doc" in kinds:
        found["doc"] = str(guards.attribute(value, "__doc__"))
    if "annotations" in kinds:
        written = guards.attribute(value, "__annotations__")
        found["annotations"] = list(texts_of(written).items()) if isinstance(written, dict) else None
    if "source" in kinds:
        with contextlib.suppress(OSError, TypeError):
            found["source"] = inspect.getsource(value)
    if "order" in kinds:
        inside = dict(getattr(value, "__dict__", {}))
        found["order"] = [
            name
            for name, one in inside.items()
            if not (name in _OF_NO_ORDER or isinstance(one, types.ModuleType))
        ]
    return found
