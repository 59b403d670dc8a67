"""Errors and checks for malformed answers of stores, and for settings that cannot work."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "MOST_BYTES",
    "BadAnswerError",
    "PageGuard",
    "SetupError",
    "code_of",
    "is_beyond_the_end",
    "is_of_parser",
    "read_some",
    "require_items",
    "require_range",
    "require_sound",
    "required_text",
    "time_from_text",
    "whole_number",
]

MOST_BYTES = (1 << 63) - 1
"""Of an object, as its size is counted."""
_MOST_EMPTY_PAGES = 250  # in a row: a store that filters what it lists may give some
# A day from the first and the last time that Python knows, for whoever tells them in a time zone.
_SOME_TIME = datetime.fromtimestamp(0, UTC)
_FIRST, _LAST = -62_135_510_400, 253_370_764_800


class BadAnswerError(OSError):
    """An answer that no such store would give, or that is incomplete; `code` says what is wrong with it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def require_range(header: str | None, start: int, stop: int, nbytes: int) -> None:
    """Raise BadAnswerError unless a `Content-Range` header covers exactly the requested bytes."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", header or "")
    if found is None:
        raise BadAnswerError("RangeIgnored")
    first, last = int(found[1]), int(found[2])
    size = stop if found[3] == "*" else int(found[3])
    if first != start or last != min(stop, size) - 1:
        raise BadAnswerError("WrongRange")
    if nbytes != last - first + 1:
        raise BadAnswerError("IncompleteBody")


async def read_some(read: Callable[[int], Awaitable[bytes]], nbytes: int) -> bytes:
    """Read the first bytes of a body, up to a limit; anything sent beyond it is not waited for.

    Args:
        read: gives some of the next bytes, up to a number; none at the end.
        nbytes: the limit.
    """
    pieces: list[bytes] = []
    while nbytes > 0 and (piece := await read(nbytes)):
        pieces.append(piece)
        nbytes -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class SetupError(OSError):
    """The settings for a store cannot be used, and no request was made; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class PageGuard:
    """Detects listings that would never end: repeated pages, or endless empty ones."""

    def __init__(self) -> None:
        self._before: object = None
        self._empty = 0

    def require_other(self, *page: object) -> None:
        """Raise BadAnswerError if this page shows that the listing would not end."""
        if any(page):
            repeats, self._before, self._empty = page == self._before, page, 0
        else:
            self._empty += 1
            repeats = self._empty > _MOST_EMPTY_PAGES
        if repeats:
            raise BadAnswerError("ListingRepeats")


def require_items(answer: Mapping[str, Any], name: str, **kinds: type[Any]) -> None:
    """Raise BadAnswerError unless each item of a list in an answer has these fields, with these types."""
    for item in answer.get(name) or ():
        for field, kind in kinds.items():
            value = item.get(field) if isinstance(item, dict) else None
            try:
                sound = isinstance(value, kind)
                if isinstance(value, int):
                    require_sound(value, _SOME_TIME)
                if isinstance(value, datetime):
                    require_sound(0, value)
            except BadAnswerError:
                sound = False
            if not sound:
                raise BadAnswerError(f"No{field}")


def require_sound(nbytes: int, modified: datetime) -> None:
    """Raise BadAnswerError for an impossible size or modification time."""
    try:
        sound = modified.tzinfo is not None and _FIRST <= modified.timestamp() <= _LAST
    except (ValueError, OverflowError):
        sound = False
    if not sound or not 0 <= nbytes <= MOST_BYTES:
        raise BadAnswerError("NotAnObject")


def whole_number(value: object) -> int:
    """Parse a number of bytes in an answer, from digits or a JSON number. Raises BadAnswerError.

    >>> whole_number("12"), whole_number(12)
    (12, 12)
    """
    if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value):
        return int(value)
    if type(value) is not int:
        raise BadAnswerError("NotANumber")
    return value


def time_from_text(value: object) -> datetime:
    """Parse an ISO time in an answer, as UTC if it names no zone. Raises BadAnswerError."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except ValueError:
        pass
    raise BadAnswerError("NotATime")


def required_text(answer: Mapping[str, Any], field: str) -> str:
    """Return a text field that an answer or its headers must have. Raises BadAnswerError."""
    value = answer.get(field)
    if not isinstance(value, str) or not value:
        raise BadAnswerError(f"No{field}")
    return value


def is_of_parser(error: BaseException, module: str) -> bool:
    """Whether a client's module raised this error while parsing an answer (an invalid size or date)."""
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals.get("__name__") == module:
            return True
        step = step.tb_next
    return False


def is_beyond_the_end(error: BaseException) -> bool:
    """Whether a store has refused a range because the object ends before it: there is nothing to read."""
    return code_of(error) in ("InvalidRange", "416")


def code_of(error: BaseException) -> str | None:
    """The store's own error code (`NoSuchBucket`, `SlowDown`), if the exception carries one."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)
        if isinstance(response, dict):
            code = response.get("Error", {}).get("Code")
            return str(code) if code else None
        status = getattr(seen, "code", None)
        if isinstance(status, (int, str)):
            return str(status)
        seen = seen.__cause__
    return None
