"""Hashes graphs of descriptions that refer to each other, cycles included.

A part is described once, however many others refer to it, and may refer to others. Its name is a hash of its
description, in which other parts are replaced by their digests, or kept as they are if small: so shared parts
and copies have the same name, and a set has the same name in any order. Parts in a cycle are distinguished by
what they lead to in one step, in two steps and so on, until a further step distinguishes no more of them. The
cost is linear in the number of parts, times the number of steps for those in cycles.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["Part", "Unordered", "digest", "is_name"]

_MOST_STEPS = 64
_SMALL = 1000  # characters
_TOKEN = f"{secrets.token_hex(8)}:"  # stands in texts where no name is known yet, and in no user's text
_TOKENS = re.compile(f'"{_TOKEN}([0-9]+)"')
_NAME = re.compile("[0-9a-f]{64}")


class Part:
    """A description that others refer to.

    Attributes:
        description: JSON values, other parts, and `Unordered`.
        code: of what code it is, if it is the description of code.
    """

    __slots__ = ("code", "description")

    def __init__(self, description: Any = None, code: Any = None) -> None:
        self.description = description
        self.code = code


class Unordered:
    """Descriptions without an order, such as those of a set."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = list(items)


def is_name(text: str) -> bool:
    """Whether a text could be confused with a reference to a part, and needs escaping."""
    return len(text) == 64 and _NAME.fullmatch(text) is not None


def digest(description: Any, name_of_code: Callable[[Any], Any] | None = None) -> str:
    """Hash a description with everything that it refers to, 32 hex digits.

    Args:
        description: JSON values, parts, and `Unordered`.
        name_of_code: makes a replacement for code from `Part.code`; by default its whole description.

    >>> ring = Part()
    >>> ring.description = ["list", [ring]]
    >>> digest(["list", [ring, 1]]) == digest(["list", [ring, 1]]) != digest(["list", [ring, 2]])
    True
    """
    return _Names(name_of_code).of(description)[:32]


class _Names:
    def __init__(self, name_of_code: Callable[[Any], Any] | None) -> None:
        self._name_of_code = name_of_code
        self._names: dict[Part, str] = {}  # as JSON
        self._texts: dict[Part, str] = {}  # descriptions as JSON, with tokens for what they refer to
        self._tokens: list[Part | list[str]] = []
        self._found: list[Part] = []
        self._encode = json.JSONEncoder(
            sort_keys=True, separators=(",", ":"), check_circular=False, default=self._default
        ).encode

    def of(self, description: Any) -> str:
        root = Part(description)
        for group, in_circle in _groups(root, self._parts):
            if in_circle:
                self._name_circle(group)
            else:
                self._name(group[0])
        return _sha(self._names[root])

    def _default(self, value: Any) -> Any:
        if isinstance(value, Part):
            if self._name_of_code is not None and value.code is not None:
                return self._name_of_code(value.code)
            self._found.append(value)
            self._tokens.append(value)
        elif isinstance(value, Unordered):
            self._tokens.append([self._encode(one) for one in value.items])
        else:
            raise TypeError(f"{type(value).__name__} is no description")
        return f"{_TOKEN}{len(self._tokens) - 1}"

    def _parts(self, part: Part) -> list[Part]:
        found = self._found = []
        self._texts[part] = self._encode(part.description)
        return found

    def _text(self, part: Part) -> str:
        return self._filled(self._texts[part])

    def _filled(self, text: str) -> str:
        return _TOKENS.sub(self._of_token, text) if _TOKEN in text else text

    def _of_token(self, token: re.Match[str]) -> str:
        one = self._tokens[int(token[1])]
        if isinstance(one, Part):
            return self._names.get(one, '""')
        return f"[{','.join(sorted(map(self._filled, one)))}]"

    def _name(self, part: Part) -> None:
        text = self._text(part)
        self._names[part] = text if len(text) <= _SMALL else f'"{_sha(text)}"'

    def _name_circle(self, group: list[Part]) -> None:
        names, known = dict.fromkeys(group, ""), 1
        for _ in range(_MOST_STEPS):
            self._take(names)
            names = {part: _sha(self._text(part)) for part in group}
            told_apart = len(set(names.values()))
            if told_apart == known:
                # What all of them lead to is in each one's name: two circles may be alike for some steps.
                whole = _sha(" ".join(sorted(set(names.values()))))
                break
            known = told_apart
        else:  # a long chain, say: by their places as they are met
            names = {part: f"place {index}" for index, part in enumerate(group)}
            self._take(names)
            whole = _sha(" ".join(_sha(self._text(part)) for part in group))
        self._take({part: _sha(f"{name} in {whole}") for part, name in names.items()})

    def _take(self, names: dict[Part, str]) -> None:
        self._names.update((part, f'"{name}"') for part, name in names.items())


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _groups(root: Part, parts_of: Callable[[Part], list[Part]]) -> Iterator[tuple[list[Part], bool]]:
    """Strongly connected parts, dependencies first, and whether each group is a cycle (Tarjan 1972)."""
    index: dict[Part, int] = {root: 0}
    low: dict[Part, int] = {root: 0}
    open_: list[Part] = [root]
    is_open = {root}
    parts = parts_of(root)
    circular = {root} if root in parts else set()
    path = [(root, iter(parts))]
    while path:
        part, rest = path[-1]
        for one in rest:
            if one not in index:
                index[one] = low[one] = len(index)
                open_.append(one)
                is_open.add(one)
                parts = parts_of(one)
                if one in parts:
                    circular.add(one)
                path.append((one, iter(parts)))
                break
            if one in is_open:
                low[part] = min(low[part], index[one])
        else:
            path.pop()
            if path:
                above = path[-1][0]
                low[above] = min(low[above], low[part])
            if low[part] == index[part]:
                start = len(open_) - 1
                while open_[start] is not part:
                    start -= 1
                group = open_[start:]
                del open_[start:]
                is_open.difference_update(group)
                yield group, len(group) > 1 or part in circular
