"""Encodes and decodes the objects of the journal; decoding is bounded, whoever wrote them."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from cpr.errors import RecordError
from cpr.io.outside_json import read_json
from cpr.provenance.provenance_record import Input, Made

__all__ = ["MAX_BYTES", "MAX_ENTRIES", "Entries", "decode", "encode", "inflate"]

MAX_BYTES = 32 << 20  # unpacked
MAX_ENTRIES = 20_000
_MOST_VALUES = 1_000_000  # each takes some hundred bytes
_MOST_LINES = 10_000
_GZIP = 31  # zlib's number for it
_WIDTH = 6  # hex digits of a line


@dataclass
class Entries:
    """Journal entries of a task.

    Attributes:
        task: the task's name.
        made: of its results, the latest last.
        lines: of its source and of functions it uses, by their digests; as
            `cpr.provenance.why_not_reused.line_digests` makes them.
        first: numbers of the first lines of these in their files.
        uses: what its code uses, by `Made.code`.
    """

    task: str = ""
    made: list[Made] = field(default_factory=list)
    lines: dict[str, Sequence[str]] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    uses: dict[str, Mapping[str, Input]] = field(default_factory=dict)

    def whole(self, made: Made) -> Made:
        """Complete a result's provenance with the uses of its code, if its record had no room for them."""
        known = self.uses.get(made.code or "")
        return made if made.uses or known is None else dataclasses.replace(made, uses=known)

    def update(self, other: Entries) -> None:
        """Add what other entries know of sources and code."""
        self.lines.update(other.lines)
        self.first.update(other.first)
        self.uses.update(other.uses)


class _Digests(Sequence[str]):
    """Digests of lines in compact form: separate strings would take nine times the memory."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __len__(self) -> int:
        return (len(self._text) + _WIDTH - 1) // _WIDTH

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(len(self))[index]
        if isinstance(places, int):
            return self._text[places * _WIDTH : (places + 1) * _WIDTH]
        return [self[place] for place in places]


def encode(entries: Entries) -> bytes:
    """Encode entries as an object; of many results only as many of the latest as are read again."""
    text = _text(entries)
    while entries.made and (len(text) > MAX_BYTES or text.count(b":") > _MOST_VALUES):
        entries = dataclasses.replace(entries, made=entries.made[(len(entries.made) + 1) // 2 :])
        text = _text(entries)
    packer = zlib.compressobj(6, wbits=_GZIP)
    return packer.compress(text) + packer.flush()


def _text(entries: Entries) -> bytes:
    return json.dumps(
        {
            "task": entries.task,
            "lines": {digest: "".join(lines) for digest, lines in entries.lines.items()},
            "first": entries.first,
            "uses": {code: _to_json(uses) for code, uses in entries.uses.items()},
            "made": [_without_uses(made, entries).to_json() for made in entries.made],
        },
        separators=(",", ":"),
        allow_nan=False,
    ).encode()


def inflate(packed: bytes) -> bytes:
    """Decompress a text up to a limit that includes everything cpr writes. Raises RecordError."""
    try:
        return zlib.decompressobj(_GZIP).decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise _refused(f"{type(error).__name__}: {error}"[:100]) from None


def decode(text: bytes) -> Entries:
    """Raises RecordError for what is not as `encode` gives it, before it takes much memory."""
    # Empty lists in a list would take 27 times the size of their text.
    if 8 * (text.count(b"[") + text.count(b"{")) > len(text) + 1024:
        raise _refused("lists in lists")
    if text.count(b":") > _MOST_VALUES:
        raise _refused(f"more than {_MOST_VALUES} values")
    try:
        match read_json(text):
            case {"task": str() as task, "lines": dict() as lines, "made": list() as made, **more}:
                return Entries(
                    task[:200],
                    [Made.parse(one) for one in made[-MAX_ENTRIES:]],
                    dict(_lines(lines)),
                    dict(_numbers(more.get("first", {}))),
                    dict(_uses(more.get("uses", {}))),
                )
    except ValueError as error:
        raise _refused(f"{type(error).__name__}: {error}"[:100]) from None
    raise _refused("something else")


def _lines(lines: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    for source, digests in lines.items():
        if not isinstance(digests, str) or len(digests) > _WIDTH * _MOST_LINES:
            raise _refused(type(digests).__name__)
        yield source, _Digests(digests)


def _without_uses(made: Made, entries: Entries) -> Made:
    return dataclasses.replace(made, uses={}) if made.code in entries.uses else made


def _to_json(uses: Mapping[str, Input]) -> dict[str, Any]:
    return {name: one.to_json() for name, one in uses.items()}


def _numbers(first: Any) -> Iterator[tuple[str, int]]:
    for digest, number in first.items() if isinstance(first, dict) else ():
        if type(number) is not int:
            raise _refused(type(number).__name__)
        yield digest, number


def _uses(tables: Any) -> Iterator[tuple[str, Mapping[str, Input]]]:
    for code, uses in tables.items() if isinstance(tables, dict) else ():
        yield code, Made.parse({"uses": uses}).uses


def _refused(actual: str) -> RecordError:
    return RecordError(
        "not an object of the journal",
        expected="what cpr writes",
        actual=actual,
        remedy="delete it; nothing depends on it",
    )
