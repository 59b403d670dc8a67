"""Serializes return values that contain resources to JSON values, with types that can be restored.

JSON's own values stand for themselves: None, bool, int, finite float, str, list, and dict with text
keys. Everything else is an object with the one key `__cpr__`: with an object under it, it is the
record of a resource; with an array, a tag and what the tag needs. A dict of the user's that has that
key is stored under a tag itself, so nothing is ambiguous.

`cpr.records.unpack` is the way back.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import numpy as np

from cpr.errors import CprError, EncodeError, RecordError, spelled
from cpr.io.transfer_width import side_by_side, transfer_budget
from cpr.records.class_names import is_plain, name_of, name_of_type
from cpr.records.registry import RECORD_KEY, Storable, envelope
from cpr.records.registry import lookup as lookup_type
from cpr.records.scalars import SCALARS, tag_of

__all__ = ["MAX_DEPTH", "pack", "persist_all", "resources_in"]

MAX_DEPTH = 64
"""Levels of containers inside containers."""

_NEAR = 4  # uploads at once, more where answers take long
_CONTAINERS = frozenset({list, dict, tuple, set, frozenset})


Sign = Callable[[Iterable[Storable]], None]


def pack(value: Any, name: str = "result", sign: Sign | None = None) -> Any:
    """Serialize a value to JSON values; targets in it are persisted first, in parallel.

    Args:
        value: resources, scalars, and containers of them.
        name: what error messages call the value.
        sign: called with the persisted resources before their records are made.

    Raises:
        EncodeError: something in it cannot be stored; `field` is its place, like `result[0]['x']`.
        ResourceError: a target could not be persisted.

    >>> pack({"sizes": (1, 2)})
    {'sizes': {'__cpr__': ['tuple', [1, 2]]}}
    """
    packer = _Packer()
    packed = packer.pack(value, name)
    packer.fill(sign)
    return packed


def resources_in(value: Any) -> list[Storable]:
    """The resources inside a value; whatever cannot be stored is skipped."""
    packer = _Packer(lenient=True)
    packer.pack(value, "result")
    return [resource for _, resource in packer.slots]


def persist_all(resources: Iterable[Storable]) -> None:
    """Persist the targets among resources, in parallel. Raises the first error after all have finished."""
    distinct: dict[int, Any] = {id(resource): resource for resource in resources}
    targets = [r for r in distinct.values() if hasattr(r, "persist") and getattr(r, "checksum", None) is None]
    if len(targets) < 2:
        for target in targets:
            target.persist()
        return
    room = transfer_budget()

    def persist(target: Any) -> None:
        with room.holding(getattr(target, "held_bytes", sys.maxsize)):
            target.persist()

    at_once = side_by_side(_NEAR, *{getattr(target, "location", "") for target in targets})
    with ThreadPoolExecutor(min(at_once, len(targets)), "cpr-persist") as pool:
        uploads = [pool.submit(copy_context().run, persist, target) for target in targets]
    for upload in uploads:
        upload.result()


class _Packer:
    def __init__(self, lenient: bool = False) -> None:
        self.lenient = lenient
        # Records are filled in at the end, so that targets can be persisted side by side.
        self.slots: list[tuple[dict[str, Any], Storable]] = []
        self._open: list[int] = []

    def fill(self, sign: Sign | None) -> None:
        persist_all(resource for _, resource in self.slots)
        if sign is not None:
            sign([resource for _, resource in self.slots])
        for slot, resource in self.slots:
            slot.update(envelope(resource))

    def pack(self, value: Any, path: str) -> Any:
        cls = type(value)
        if value is None or cls is bool or cls is str:
            return value
        if (cls is int and -(1 << 63) <= value < 1 << 63) or (cls is float and math.isfinite(value)):
            return value
        if cls in _CONTAINERS:
            return self._container(value, path)
        if isinstance(value, Storable) and not isinstance(value, type):
            return self._resource(value, path)
        if isinstance(value, enum.Enum):
            return _tagged("enum", name_of(cls, path), _pack_member(value))
        tag = tag_of(value)
        if tag is not None:
            return self._scalar(tag, value, path)
        return self._container(value, path)

    def _resource(self, value: Storable, path: str) -> Any:
        cls = type(value)
        if not self.lenient:
            with _at(path):
                if lookup_type(getattr(cls, "record_type", cls.__name__)) is not cls:
                    raise RecordError(
                        "another class is registered under this name",
                        expected=cls.__qualname__,
                        remedy="give the class a name of its own",
                    )
        slot: dict[str, Any] = {}
        self.slots.append((slot, value))
        return slot

    def _scalar(self, tag: str, value: Any, path: str) -> Any:
        if self.lenient:
            return None
        with _at(path):
            return _tagged(tag, *SCALARS[tag].pack(value))

    def _container(self, value: Any, path: str) -> Any:
        if len(self._open) >= MAX_DEPTH or id(value) in self._open:
            return self._refuse(
                path,
                "the value contains itself" if id(value) in self._open else "nested too deeply",
                f"at most {MAX_DEPTH} levels of containers",
                type(value).__name__,
                "return a flatter value",
            )
        self._open.append(id(value))
        try:
            return self._parts(value, path)
        finally:
            self._open.pop()

    def _parts(self, value: Any, path: str) -> Any:
        cls = type(value)
        if cls is list:
            return self._items(value, path)
        if cls is dict:
            return self._dict(value, path)
        if cls is tuple:
            return _tagged("tuple", self._items(value, path))
        if cls is set or cls is frozenset:
            return _tagged(cls.__name__, [self.pack(item, f"{path}{{...}}") for item in value])
        if isinstance(value, tuple) and hasattr(cls, "_fields"):
            fields = zip(cls._fields, value, strict=True)
            return _tagged("namedtuple", name_of(cls, path), self._fields(fields, path))
        if dataclasses.is_dataclass(cls):
            return self._dataclass(value, path)
        from pydantic import BaseModel

        if isinstance(value, BaseModel):
            return self._model(value, path)
        return self._refuse(
            path,
            "a record cannot hold this",
            "resources, scalars, and lists, dicts, tuples, sets, dataclasses or pydantic models of them",
            f"{cls.__module__}.{cls.__qualname__}",
            _remedy_for(value),
        )

    def _refuse(self, path: str, problem: str, expected: str, actual: str, remedy: str) -> None:
        if not self.lenient:
            raise EncodeError(problem, field=path, expected=expected, actual=actual, remedy=remedy)

    def _items(self, values: Iterable[Any], path: str) -> list[Any]:
        return [self.pack(item, f"{path}[{index}]") for index, item in enumerate(values)]

    def _dict(self, value: dict[Any, Any], path: str) -> Any:
        if RECORD_KEY not in value and all(type(key) is str for key in value):
            return {key: self.pack(item, f"{path}[{key!r}]") for key, item in value.items()}
        return _tagged(
            "dict",
            [
                [self.pack(key, f"{path} key {_brief(key)}"), self.pack(item, f"{path}[{_brief(key)}]")]
                for key, item in value.items()
            ],
        )

    def _fields(self, fields: Iterable[tuple[str, Any]], path: str) -> list[Any]:
        return [[name, self.pack(value, f"{path}.{name}")] for name, value in fields]

    def _dataclass(self, value: Any, path: str) -> Any:
        cls = type(value)
        names = [field.name for field in dataclasses.fields(value)]
        unset = [name for name in names if not hasattr(value, name)]
        if unset or not is_plain(cls):
            return self._refuse(
                path,
                "a dataclass that cannot be rebuilt from its fields",
                "a value for every field, and no built-in class among the bases",
                f"{cls.__qualname__}" + (f" without {', '.join(unset)}" if unset else ""),
                "set every field, and hold the built-in in a field instead",
            )
        fields = ((name, getattr(value, name)) for name in names)
        return _tagged("dataclass", name_of(cls, path), self._fields(fields, path))

    def _model(self, model: Any, path: str) -> Any:
        cls = type(model)
        # Fields and extras, without what the class computes; unset ones are those left at their defaults.
        values = {**model.__dict__, **(model.__pydantic_extra__ or {})}
        own = {
            name: values[name] for name in values if name in cls.model_fields or name not in model.__dict__
        }
        unset = sorted(set(cls.model_fields) - model.model_fields_set)
        return _tagged("model", name_of_type(cls, path), self._fields(own.items(), path), unset)


def _tagged(tag: str, *parts: Any) -> dict[str, Any]:
    return {RECORD_KEY: [tag, *parts]}


def _pack_member(value: enum.Enum) -> str | int:
    if value.name in type(value).__members__:
        return str(value.name)
    return int(value.value)  # a combination of flags


def _remedy_for(value: Any) -> str:
    if isinstance(value, np.ndarray) or hasattr(value, "__array_interface__") or hasattr(value, "dask"):
        return "put it into a NumpyTarget or ImageTarget and return that"
    if type(value).__name__ in ("DataFrame", "Series"):
        return "put it into a CSVTarget and return that"
    return "return its parts, a dataclass or a pydantic model; or give the task another result_serializer"


def _brief(key: Any) -> str:
    return spelled(key, 60)


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Adds the position in the value to errors raised in the block."""
    try:
        yield
    except CprError as error:
        raise EncodeError(
            error.problem,
            field=path,
            expected=error.expected,
            actual=error.actual,
            remedy=error.remedy,
        ) from None
