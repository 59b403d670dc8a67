"""Restores the values that `cpr.records.pack` serialized to JSON values.

A record is untrusted: see `cpr.records.class_names` for which classes it may name. Dataclasses, named tuples
and pydantic models are rebuilt without running any code of theirs: no `__init__`, no validator, no property.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cpr.errors import CprError, RecordError
from cpr.records.class_names import find_class, find_type, is_plain, require_no_setters
from cpr.records.pack import MAX_DEPTH
from cpr.records.registry import RECORD_KEY, Storable, load_record
from cpr.records.scalars import SCALARS

__all__ = ["unpack"]

# Keys of one dict or set that have one hash: Python compares each with all others, a second for so many.
_MOST_ALIKE = 10_000
# Steps of such comparisons in a whole record: twice a second's, for keys are compared part by part.
_MOST_STEPS = 100_000_000
_CHARACTERS = 64  # of a text that are compared in a step
_REMEDY = "the record was not written by cpr: delete it, so that its task runs again"


def unpack(packed: Any, scope: Mapping[str, Any] | None = None) -> tuple[Any, list[Storable]]:
    """Restore the value that `pack` took, with the resources in it; no I/O.

    Args:
        packed: JSON values.
        scope: names in which classes are looked up, in addition to imported modules.

    Raises RecordError for anything that `pack` does not write.
    """
    unpacker = _Unpacker(scope or {})
    try:
        return unpacker.unpack(packed), unpacker.resources
    except RecursionError:
        raise _too_deep() from None


class _Unpacker:
    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.scope = scope
        self.resources: list[Storable] = []
        self._depth = 0
        self._steps = 0

    def unpack(self, packed: Any) -> Any:
        if packed is None or isinstance(packed, (str, bool, int, float)):
            return packed
        self._depth += 1
        if self._depth > MAX_DEPTH + 1:
            raise _too_deep()
        try:
            if isinstance(packed, list):
                return [self.unpack(item) for item in packed]
            if RECORD_KEY not in packed:
                return {key: self.unpack(item) for key, item in packed.items()}
            if isinstance(packed[RECORD_KEY], list) and len(packed) == 1:
                return self._tagged(*packed[RECORD_KEY])
            resource = load_record(packed)
            self.resources.append(resource)
            return resource
        except CprError:
            raise
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, OSError) as error:
            # Rebuilding from values of the wrong number, type or range.
            raise RecordError(
                "not a value that cpr has stored",
                expected="what cpr writes",
                actual=f"{type(error).__name__} from {ascii(packed)[:200]}",
                remedy=_REMEDY,
            ) from None
        finally:
            self._depth -= 1

    def _tagged(self, tag: str, *parts: Any) -> Any:
        if tag in SCALARS:
            return SCALARS[tag].unpack(*parts)
        builders: dict[str, Callable[..., Any]] = {
            "tuple": lambda items: tuple(self._list(items)),
            "set": lambda items: set(self._told_apart(self._list(items), items)),
            "frozenset": lambda items: frozenset(self._told_apart(self._list(items), items)),
            "dict": self._dict,
            "enum": self._enum,
            "namedtuple": self._namedtuple,
            "dataclass": self._dataclass,
            "model": self._model,
        }
        return builders[tag](*parts)

    def _dict(self, pairs: Any) -> dict[Any, Any]:
        found = [(self.unpack(key), self.unpack(value)) for key, value in pairs]
        self._told_apart([key for key, _ in found], [key for key, _ in pairs])
        return dict(found)

    def _told_apart(self, keys: list[Any], packed: list[Any]) -> list[Any]:
        """The keys. Raises ValueError where it takes Python too long to see that they differ."""
        hashes = list(map(hash, keys))
        alike = Counter(hashes)
        if len(alike) == len(keys):
            return keys
        if max(alike.values()) > _MOST_ALIKE:
            raise ValueError(f"more than {_MOST_ALIKE} keys with one hash")
        for number, one in zip(hashes, packed, strict=True):
            if alike[number] > 1:
                self._steps += alike[number] * _steps_to_compare(one)
        if self._steps > _MOST_STEPS:
            raise ValueError("too many long keys with one hash")
        return keys

    def _list(self, items: Any) -> list[Any]:
        if not isinstance(items, list):
            raise TypeError("an array was expected")
        return [self.unpack(item) for item in items]

    def _fields(self, pairs: Any) -> dict[str, Any]:
        fields = {name: self.unpack(value) for name, value in pairs}
        if len(fields) != len(pairs) or not all(isinstance(name, str) for name in fields):
            raise ValueError("field names are not distinct texts")
        return fields

    def _enum(self, name: Any, member: Any) -> Any:
        cls: Any = _require(find_class(name, self.scope), lambda c: issubclass(c, enum.Enum), "an Enum")
        if isinstance(member, str):
            return cls.__members__[member]
        if not issubclass(cls, enum.Flag) or type(member) is not int:
            raise TypeError("only flags are stored by value")
        if getattr(cls._missing_, "__func__", None) is not enum.Flag._missing_.__func__:  # type: ignore[attr-defined]
            raise TypeError("flags with code of their own are not made")
        known = functools.reduce(operator.or_, (int(one.value) for one in cls.__members__.values()), 0)
        # Not left to the class: it gives any value that somebody has made of it before.
        if cls._boundary_ is not enum.KEEP and (member < 0 or member & ~known):
            raise ValueError("bits that this flag does not have")
        return cls(member)

    def _namedtuple(self, name: Any, pairs: Any) -> Any:
        cls: Any = _require(
            find_class(name, self.scope),
            lambda c: issubclass(c, tuple) and isinstance(getattr(c, "_fields", None), tuple),
            "a named tuple",
        )
        return tuple.__new__(cls, _exactly(cls, cls._fields, self._fields(pairs)).values())

    def _dataclass(self, name: Any, pairs: Any) -> Any:
        cls = _require(
            find_class(name, self.scope),
            lambda c: dataclasses.is_dataclass(c) and is_plain(c),
            "a dataclass",
        )
        names = [field.name for field in dataclasses.fields(cls)]
        require_no_setters(cls, names)
        value = object.__new__(cls)
        for field, item in _exactly(cls, names, self._fields(pairs)).items():
            object.__setattr__(value, field, item)
        return value

    def _model(self, name: Any, pairs: Any, unset: list[str]) -> Any:
        from pydantic import BaseModel

        cls: Any = _require(
            find_type(name, self.scope),
            lambda c: issubclass(c, BaseModel) and is_plain(c),
            "a pydantic model",
        )
        fields, names = self._fields(pairs), set(cls.model_fields)
        extra = {field: value for field, value in fields.items() if field not in names}
        if extra and cls.model_config.get("extra") != "allow":
            raise _other_fields(cls, names, fields)
        own = {}
        for field, about in cls.model_fields.items():
            if field not in fields and about.is_required():
                raise _other_fields(cls, names, fields)
            own[field] = fields[field] if field in fields else about.get_default(call_default_factory=True)
        model = object.__new__(cls)
        object.__setattr__(model, "__dict__", own)
        object.__setattr__(model, "__pydantic_fields_set__", set(fields).difference(unset))
        if cls.__pydantic_root_model__:
            return model
        object.__setattr__(
            model, "__pydantic_extra__", extra if cls.model_config.get("extra") == "allow" else None
        )
        private = {name: attribute.get_default() for name, attribute in cls.__private_attributes__.items()}
        object.__setattr__(model, "__pydantic_private__", private or None)
        return model


def _require(cls: Any, condition: Callable[[Any], bool], kind: str) -> Any:
    if not isinstance(cls, type) or not condition(cls):
        raise RecordError(
            "the record names a class of another kind",
            field="class",
            expected=kind,
            actual=ascii(cls)[:200],
            remedy=_REMEDY,
        )
    return cls


def _steps_to_compare(packed: Any) -> int:
    """About how many steps it takes to find a key, by its JSON values, equal to another that is."""
    if isinstance(packed, str):
        return 1 + len(packed) // _CHARACTERS
    if isinstance(packed, dict):
        return sum(map(_steps_to_compare, packed.values()))
    if not isinstance(packed, list):
        return 1
    tag, *parts = packed or [None]
    steps = sum(map(_steps_to_compare, parts))
    if isinstance(tag, str) and tag in SCALARS:
        return steps
    # Each item is looked for among all of another set, which may have one hash as well.
    within = len(parts[0]) if tag == "frozenset" and len(parts) == 1 and isinstance(parts[0], list) else 1
    return _steps_to_compare(tag) + steps * within


def _exactly(cls: type, names: Iterable[str], fields: dict[str, Any]) -> dict[str, Any]:
    ordered = list(names)
    if set(ordered) != set(fields):
        raise _other_fields(cls, ordered, fields)
    return {name: fields[name] for name in ordered}


def _other_fields(cls: type, names: Iterable[str], fields: Iterable[str]) -> RecordError:
    return RecordError(
        "the class has other fields than when its value was stored",
        field=cls.__qualname__,
        expected=", ".join(sorted(names)),
        actual=ascii(", ".join(fields))[:200],
        remedy="delete the record, so that its task runs again",
    )


def _too_deep() -> RecordError:
    return RecordError(
        "the record is nested too deeply",
        expected=f"at most {MAX_DEPTH} levels",
        actual="more",
        remedy=_REMEDY,
    )
