"""How a result came to be: which task made it, when, and from what.

A target's record has one optional field `made`. It is no part of `identity()`, of the object's name or
of a cache key: the same content made twice is the same content. It holds no data, and nothing that may be
a secret (see `cpr.prefect.redaction` for what is kept of an argument). Prefect's record around it stays
under 1 KB: what does not fit is kept in one object beside the result, `.cpr/<name>.<digest>.made.json`,
named by its content.

    "made": {"task": "denoise", "flow": "analyse", "flow_run": "6e0f...", "task_run": "0c4b...",
             "at": 1795500000, "cpr": "0.1.0", "key": "93b1...", "source": "5f0c...",
             "inputs": {"sigma": 2.5, "method": "str=otsu", "password": "secret", "text": "str 8ca5...",
                        "image": "ImageSource c5bd... s3://bucket/raw/a.tif"}}
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cpr import io
from cpr.errors import CorruptDataError, CprError, RecordError
from cpr.io.hashing import hex16

__all__ = [
    "MAX_HELD",
    "Input",
    "Made",
    "Scalar",
    "copy_whole",
    "fit",
    "is_acceptable",
    "made_url",
    "read_whole",
]

Scalar = bool | int | float | str | None

RECORD_BYTES = 720
"""What a record takes as JSON text inside of JSON, which is how Prefect keeps it, with some 250 bytes of
its own; where the URL and the options leave that much."""

_WHOLE_BYTES = 1 << 20  # of the object beside the result
_NAME_BYTES = 255
MAX_INPUTS = 256
MAX_HELD = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HEX16 = re.compile(r"[0-9a-f]{16}")
_TYPE = r"[^\s=]{1,100}"
_SPELLED = re.compile(
    rf"(?P<type>{_TYPE})(?:=(?P<value>.{{0,128}})| (?P<digest>[0-9a-f]{{16}}|-)(?: (?P<url>.{{1,4096}}))?)?"
)
_BARE = (bool, int, float, str, type(None))
_INT64 = 1 << 63
_GROUPS = frozenset({"inputs", "uses"})


@dataclass(frozen=True)
class Input:
    """What is kept of one argument.

    Attributes:
        type: name of its class; `secret` for what is not looked at.
        value: a number, bool or None as it is; the text of other things that are shown.
        digest: 16 hex digits that name the content; None where `value` says it all, and for a secret.
        url: of a resource, without user, password and query.
        version: of a source, as the store tells it.
        holds: the resources in a container, in order.
        left_out: how many more there are.
    """

    type: str
    value: Scalar = None
    digest: str | None = None
    url: str | None = None
    version: Mapping[str, str | int] = field(default_factory=dict)
    holds: tuple[Input, ...] = ()
    left_out: int = 0

    def to_json(self) -> Any:
        """Numbers, bools, None stand for themselves; else `type=value`, `type digest url`, or an object."""
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
    def parse(cls, json_value: Any, where: str = "made.inputs", held: bool = False) -> Self:
        """An input from its JSON. Raises RecordError for anything that `to_json` does not give."""
        if isinstance(json_value, str):
            return cls(**_spelled(json_value, where))
        if isinstance(json_value, _BARE):
            _require(is_acceptable(json_value), where, "a number", json_value)
            return cls(type(json_value).__name__, json_value)
        fields = _checked(json_value, _INPUT, where)
        if "holds" in fields:
            _require(not held, where, "resources in one container", "containers in containers")
            fields["holds"] = tuple(cls.parse(one, f"{where}.holds", held=True) for one in fields["holds"])
        return cls(**fields)


@dataclass(frozen=True)
class Made:
    """How a result came to be; everything may be unknown.

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
            constants and functions of its module.
        more: digest of the object that holds all of this; see `read_whole`.
    """

    task: str | None = None
    flow: str | None = None
    flow_run: str | None = None
    task_run: str | None = None
    at: int | None = None
    cpr: str | None = None
    key: str | None = None
    source: str | None = None
    inputs: Mapping[str, Input] = field(default_factory=dict)
    uses: Mapping[str, Input] = field(default_factory=dict)
    more: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The field of a record; what is unknown is left out."""
        fields = _given(self)
        for group in _GROUPS & set(fields):
            fields[group] = {name: one.to_json() for name, one in fields[group].items()}
        return fields

    @classmethod
    def parse(cls, json_value: Any) -> Self:
        """From a record of anybody. Raises RecordError for anything that `to_json` does not give."""
        fields = _checked(json_value, _MADE, "made")
        for group in _GROUPS & set(fields):
            fields[group] = {
                name: Input.parse(one, f"made.{group}[{ascii(name)[:100]}]")
                for name, one in fields[group].items()
            }
        return cls(**fields)


def fit(made: Made, url: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The field `made` for a record, which has the room that the rest of it leaves.

    What does not fit is written beside the result first, in one small object; nothing is written
    otherwise.

    Args:
        made: what is known.
        url: of the result.
        record: the rest of the record.

    Raises ResourceNotFoundError and TransferError as `cpr.io.writing`.
    """
    room = RECORD_BYTES - _nbytes(record) - _nbytes({"made": {}})
    if made.more is not None:
        return made.to_json()
    for less in (made, _without_versions(made), dataclasses.replace(_without_versions(made), **_ELSEWHERE)):
        fields = less.to_json()
        if _nbytes(fields) <= room:
            return fields
    text = _bounded(made)
    digest: str | None = hex16(text)
    assert digest is not None
    beside = made_url(url, digest)
    if len(io.split(beside)[1].encode("utf-8", "surrogatepass")) > _NAME_BYTES:
        digest = None  # no file system takes such a name; the object's own is nearly as long
    else:
        with io.writing(beside) as file:
            file.write(text)
    brief = dataclasses.replace(made, inputs={}, uses={}, more=digest)
    briefer = Made(task=made.task, flow_run=made.flow_run, at=made.at, more=digest)
    for less in (brief, dataclasses.replace(brief, **_ELSEWHERE), briefer):
        fields = less.to_json()
        if _nbytes(fields) <= room:
            return fields
    return Made(more=digest).to_json()


# What Prefect's record and the journal know as well.
_ELSEWHERE: dict[str, Any] = {"cpr": None, "key": None, "source": None}


def _nbytes(record: Mapping[str, Any]) -> int:
    return len(json.dumps(json.dumps(record, separators=(",", ":"))))


def _without_versions(made: Made) -> Made:
    """Digests name the versions of sources as well; only how they differ is then unknown."""
    inputs = {name: dataclasses.replace(one, version={}) for name, one in made.inputs.items()}
    return dataclasses.replace(made, inputs=inputs)


def _bounded(made: Made) -> bytes:
    """The object beside a result, without what would make it longer than anybody reads."""
    for keep in (MAX_HELD, 10, 0):
        brief = (
            made
            if keep == MAX_HELD
            else dataclasses.replace(
                made, inputs={name: _shortened(one, keep) for name, one in made.inputs.items()}
            )
        )
        text = json.dumps(brief.to_json(), separators=(",", ":"), allow_nan=False).encode()
        if len(text) <= _WHOLE_BYTES:
            return text
    brief = dataclasses.replace(made, inputs={}, uses={})
    return json.dumps(brief.to_json(), separators=(",", ":"), allow_nan=False).encode()


def _shortened(one: Input, keep: int) -> Input:
    left_out = one.left_out + max(0, len(one.holds) - keep)
    return dataclasses.replace(one, holds=one.holds[:keep], left_out=left_out)


def made_url(url: str, digest: str) -> str:
    """Where the rest of a result's provenance is; hidden from the patterns that find results."""
    return io.sidecar_url(url, f".{digest}.made.json")


def read_whole(made: Made, url: str) -> Made:
    """All that is known, read from beside the result where the record had no room for it.

    Raises:
        ResourceNotFoundError, TransferError: it cannot be read.
        CorruptDataError: it is not what was written.
        RecordError: it is not what cpr writes.
    """
    if made.more is None:
        return made
    beside = made_url(url, made.more)
    with io.reading(beside) as file:
        text = file.read(_WHOLE_BYTES + 1)
    if len(text) > _WHOLE_BYTES or hex16(text) != made.more:
        raise CorruptDataError(
            "what is known of the result's origin is not what was written",
            url=beside,
            expected=made.more,
            actual=hex16(text),
            remedy="restore it; the result itself is not concerned",
        )
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError("not JSON", url=beside, expected="JSON", actual=str(error)[:100]) from None
    try:
        return Made.parse(whole)
    except CprError as error:
        error.url = beside
        raise


def copy_whole(made: Made, source: str, destination: str) -> None:
    """Copy what lies beside a result to beside another. Raises as `read_whole` and `cpr.io.writing`."""
    assert made.more is not None
    read_whole(made, source)  # raises if it is not what was written
    with io.reading(made_url(source, made.more)) as file, io.writing(made_url(destination, made.more)) as out:
        out.write(file.read())


def _given(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that say something."""
    return {
        one.name: getattr(value, one.name)
        for one in dataclasses.fields(value)
        if getattr(value, one.name) is not None and getattr(value, one.name) not in ({}, ())
        if not (one.name == "left_out" and value.left_out == 0)
    }


def _spelled(text: str, where: str) -> dict[str, Any]:
    """The fields of an input that is one text."""
    found = _SPELLED.fullmatch(text)
    _require(found is not None and not _CONTROL.search(text), where, "type=value or type digest url", text)
    assert found is not None
    fields = {name: part for name, part in found.groupdict().items() if part not in (None, "-")}
    if fields["type"] == "NoneType":
        _require(False, where, "null", text)
    return fields


def _is_text(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= most and not _CONTROL.search(value)


def is_acceptable(value: Any, most: int = 128) -> bool:
    """Whether a scalar may stand in a record."""
    if isinstance(value, str):
        return _is_text(most)(value)
    if type(value) is int:
        return -_INT64 <= value < _INT64
    return not isinstance(value, float) or abs(value) < float("inf")


def _is_hex16(value: Any) -> bool:
    return isinstance(value, str) and _HEX16.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _INT64


def _is_version(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 8
        and all(len(name) <= 32 and not _CONTROL.search(name) for name in value)
        and all(type(item) in (str, int) and is_acceptable(item) for item in value.values())
    )


def _is_inputs(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= MAX_INPUTS and all(map(_is_text(100), value))


_NAME = (_is_text(200), "a text of up to 200 characters without control characters")
_RUN = (lambda v: isinstance(v, str) and re.fullmatch(r"[0-9a-f]{32}", v) is not None, "32 hex digits")
_DIGEST = (_is_hex16, "16 hex digits")
_COUNT = (_is_count, "a whole number from 0 on")

_MADE: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "task": _NAME,
    "flow": _NAME,
    "flow_run": _RUN,
    "task_run": _RUN,
    "at": _COUNT,
    "cpr": (_is_text(64), "a version"),
    "key": _NAME,
    "source": _DIGEST,
    "inputs": (_is_inputs, f"an object of up to {MAX_INPUTS} inputs"),
    "uses": (_is_inputs, f"an object of up to {MAX_INPUTS} inputs"),
    "more": _DIGEST,
}

_INPUT: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "type": (lambda v: isinstance(v, str) and re.fullmatch(_TYPE, v) is not None, "the name of a class"),
    "digest": _DIGEST,
    "url": (_is_text(4096), "a URL"),
    "version": (_is_version, "what a store tells of a version"),
    "holds": (lambda v: isinstance(v, list) and len(v) <= MAX_HELD, f"up to {MAX_HELD} resources"),
    "left_out": _COUNT,
}


def _checked(json_value: Any, known: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of an object, each known and acceptable."""
    _require(isinstance(json_value, dict), where, "an object", json_value)
    for name, value in json_value.items():
        _require(name in known, where, f"fields {', '.join(known)}", name)
        good, expected = known[name]
        _require(good(value), f"{where}.{name}", expected, value)
    if known is _INPUT:
        _require("type" in json_value, where, "the field type", json_value)
    return dict(json_value)


def _require(condition: bool, where: str, expected: str, actual: Any) -> None:
    if not condition:
        raise RecordError(
            "not provenance as cpr writes it",
            field=where,
            expected=expected,
            # Numbers may have more digits than Python prints, lists more levels.
            actual=ascii(actual)[:100] if isinstance(actual, (str, float)) else type(actual).__name__,
            remedy="the record was not written by cpr: delete it, so that its task runs again",
        )
