"""The provenance in a record: which task made a result, when, and from what.

A target's record has one optional field `made`. It is no part of `identity()`, of the object's name or
of a cache key: the same content made twice is the same content. It holds no data, and nothing that may be
a secret (see `cpr.prefect.redaction` for what is kept of an argument). Prefect's record around it stays
under 1 KB: what does not fit is kept in one object beside the result, `.cpr/<name>.<digest>.made.json`,
named by its content (see `cpr.provenance.storage`).

    "made": {"task": "denoise", "flow": "analyse", "flow_run": "6e0f...", "task_run": "0c4b...",
             "at": 1795500000, "cpr": "0.1.0", "key": "93b1...", "source": "5f0c...",
             "inputs": {"sigma": 2.5, "method": "str=otsu", "password": "secret", "text": "str 8ca5...",
                        "image": "ImageSource c5bd... s3://bucket/raw/a.tif"}}
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from cpr.errors import RecordError

__all__ = ["MAX_HELD", "MAX_INPUTS", "Input", "Made", "Scalar", "is_acceptable"]

Scalar = bool | int | float | str | None

MAX_INPUTS = 256
MAX_HELD = 1000
_INT64 = 1 << 63
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TYPE = r"[^\s=]{1,100}"
_SPELLED = re.compile(
    rf"(?P<type>{_TYPE})(?:=(?P<value>.{{0,128}})| (?P<digest>[0-9a-f]{{16}}|-)(?: (?P<url>.{{1,4096}}))?)?"
)
_GROUPS = frozenset({"inputs", "uses"})


def is_acceptable(value: Any, limit: int = 128) -> bool:
    """Whether a scalar may be kept in a record."""
    if isinstance(value, str):
        return len(value) <= limit and not _CONTROL.search(value)
    if type(value) is int:
        return -_INT64 <= value < _INT64
    return not isinstance(value, float) or abs(value) < float("inf")


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("a text without control characters is expected")
    return text


_Printable = AfterValidator(_printable)
_Name = Annotated[str, StringConstraints(strict=True, max_length=200), _Printable]
_ArgumentName = Annotated[str, StringConstraints(strict=True, max_length=100), _Printable]
_Version = Annotated[str, StringConstraints(strict=True, max_length=64), _Printable]
_Url = Annotated[str, StringConstraints(strict=True, max_length=4096), _Printable]
_Hex16 = Annotated[str, StringConstraints(strict=True, pattern="^[0-9a-f]{16}$")]
_Hex32 = Annotated[str, StringConstraints(strict=True, pattern="^[0-9a-f]{32}$")]
_TypeName = Annotated[str, StringConstraints(strict=True, pattern=rf"^{_TYPE}$")]
_Count = Annotated[int, Strict(), Field(ge=0, lt=_INT64)]
# Before the year 9999: Python has no times after it, and time zones go some hours further.
_Seconds = Annotated[int, Strict(), Field(ge=0, lt=253_370_764_800)]
_StoreKey = Annotated[str, StringConstraints(strict=True, max_length=32), _Printable]
_StoreText = Annotated[str, StringConstraints(strict=True, max_length=128), _Printable]
_StoreNumber = Annotated[int, Strict(), Field(ge=-_INT64, lt=_INT64)]


def _expanded(value: Any) -> Any:
    """The fields of an input, in whichever form it is written (see `Input.to_json`)."""
    if isinstance(value, str):
        found = _SPELLED.fullmatch(value)
        if found is None or _CONTROL.search(value) or found["type"] == "NoneType":
            raise ValueError("'type=value' or 'type digest url' is expected")
        return {name: part for name, part in found.groupdict().items() if part not in (None, "-")}
    if value is None or isinstance(value, (bool, int, float)):
        if not is_acceptable(value):
            raise ValueError("a number that JSON and 64 bits can hold is expected")
        return {"type": type(value).__name__, "value": value}
    if isinstance(value, dict) and "value" in value:
        raise ValueError("a value is spelled as a text, or stands for itself")
    return _without_nulls(value)


def _expanded_held(value: Any) -> Any:
    if isinstance(value, dict) and "holds" in value:
        raise ValueError("containers do not hold containers")
    return _expanded(value)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict) and None in value.values():
        raise ValueError("what is unknown is left out, not null")
    return value


_Spelled = Annotated["Input", BeforeValidator(_expanded)]
_Held = Annotated["Input", BeforeValidator(_expanded_held)]
_Inputs = Annotated[Mapping[_ArgumentName, _Spelled], Field(max_length=MAX_INPUTS)]


@dataclass(frozen=True)
class Input:
    """What is kept of one argument of a task.

    Attributes:
        type: name of its class; `secret` for what is not looked at.
        value: a number, bool or None as it is; the text of other things that are shown.
        digest: 16 hex digits that name the content; None where `value` says it all, and for a secret.
        url: of a resource, without user, password and query.
        version: of a source, as the store tells it.
        holds: the resources in a container, in order.
        left_out: how many more there are.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    type: _TypeName
    value: Scalar = None
    digest: _Hex16 | None = None
    url: _Url | None = None
    version: Annotated[Mapping[_StoreKey, _StoreText | _StoreNumber], Field(max_length=8)] = field(
        default_factory=dict
    )
    holds: Annotated[tuple[_Held, ...], Field(max_length=MAX_HELD)] = ()
    left_out: _Count = 0

    @property
    def resources(self) -> Iterator[Input]:
        """The resources that the argument is, or contains at any depth."""
        if self.url is not None:
            yield self
        for held in self.holds:
            yield from held.resources

    def to_json(self) -> Any:
        """Numbers, bools and None as they are; else `type=value`, `type digest url`, or an object."""
        if self.holds or self.left_out or self.version:
            fields = _given(self)
            if self.holds:
                fields["holds"] = [held.to_json() for held in self.holds]
            return fields
        if self.type == type(self.value).__name__ and not isinstance(self.value, str):
            return self.value
        if self.value is not None:
            return f"{self.type}={self.value}"
        if self.url is not None:
            return f"{self.type} {self.digest or '-'} {self.url}"
        return self.type if self.digest is None else f"{self.type} {self.digest}"

    @classmethod
    def parse(cls, json_value: Any) -> Input:
        """Parse an input from its JSON. Raises RecordError for anything that `to_json` does not write."""
        found: Input = _parsed(_Spelled, json_value, "made.inputs")
        return found


@dataclass(frozen=True)
class Made:
    """How a result was made; every field may be unknown.

    Attributes:
        task: name of the task; None for what a flow made itself.
        flow: name of the flow.
        flow_run: its run's id, 32 hex digits.
        task_run: the task run's id, 32 hex digits.
        at: when, in seconds since 1970 UTC.
        cpr: the version that made it.
        key: the cache key, which is the name of Prefect's record.
        source: 16 hex digits of the text of the task's function.
        inputs: the arguments that count for the key, by name.
        uses: what the function uses besides them and counts as well, by name: values of its closure,
            constants of modules, functions and classes of the user's own (16 hex digits of what they do).
        code: 16 hex digits of `uses`, under which the journal has them where a record has no room.
        more: digest of the object that holds all of this; see `cpr.provenance.storage.read_whole`.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    task: _Name | None = None
    flow: _Name | None = None
    flow_run: _Hex32 | None = None
    task_run: _Hex32 | None = None
    at: _Seconds | None = None
    cpr: _Version | None = None
    key: _Name | None = None
    source: _Hex16 | None = None
    inputs: _Inputs = field(default_factory=dict)
    uses: _Inputs = field(default_factory=dict)
    code: _Hex16 | None = None
    more: _Hex16 | None = None

    @property
    def when(self) -> datetime | None:
        """The time as a datetime."""
        return None if self.at is None else datetime.fromtimestamp(self.at, UTC)

    @property
    def resources(self) -> Iterator[tuple[str, Input]]:
        """The arguments that are resources, by name; those in containers one by one."""
        for argument, one in self.inputs.items():
            for held in one.resources:
                yield argument, held

    def to_json(self) -> dict[str, Any]:
        """The field `made` of a record, without unknown values."""
        fields = _given(self)
        for group in _GROUPS & set(fields):
            fields[group] = {name: one.to_json() for name, one in fields[group].items()}
        return fields

    @classmethod
    def parse(cls, json_value: Any) -> Self:
        """Parse the field of an untrusted record. Raises RecordError for anything not from `to_json`."""
        found: Self = _parsed(_without_null_fields(cls), json_value, "made")
        return found


_adapter: Callable[[Any], Any] = functools.cache(TypeAdapter)
_without_null_fields: Callable[[Any], Any] = functools.cache(
    lambda cls: Annotated[cls, BeforeValidator(_without_nulls)]
)


def _parsed(cls: Any, json_value: Any, where: str) -> Any:
    try:
        return _adapter(cls).validate_python(json_value)
    except ValidationError as error:
        raise RecordError.of_validation(error, "not provenance as cpr writes it", where) from None


def _given(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that are set."""
    return {
        one.name: getattr(value, one.name)
        for one in dataclasses.fields(value)
        if getattr(value, one.name) is not None and getattr(value, one.name) not in ({}, ())
        if not (one.name == "left_out" and value.left_out == 0)
    }
