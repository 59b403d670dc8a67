"""What clients raise about answers that are no store's, and about settings that lead to none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

__all__ = [
    "BadAnswerError",
    "SetupError",
    "code_of",
    "is_of_parser",
    "require_items",
    "require_other",
    "require_range",
]


class BadAnswerError(OSError):
    """Something has answered that is no such store, or less than it says; `code` says what was wrong."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def require_range(header: str | None, start: int, stop: int, nbytes: int) -> None:
    """Raise BadAnswerError unless a `Content-Range` says that the bytes are those asked for, and all."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", header or "")
    if found is None:
        raise BadAnswerError("RangeIgnored")
    first, last = int(found[1]), int(found[2])
    size = stop if found[3] == "*" else int(found[3])
    if first != start or last != min(stop, size) - 1:
        raise BadAnswerError("WrongRange")
    if nbytes != last - first + 1:
        raise BadAnswerError("IncompleteBody")


class SetupError(OSError):
    """What is set for a store cannot be used, and no request was made; `code` says what."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def require_other(before: object, *page: object) -> object:
    """This page of a listing, unless it is the one before again, whatever its token: then BadAnswerError."""
    if any(page) and page == before:
        raise BadAnswerError("ListingRepeats")
    return page


def require_items(answer: Mapping[str, Any], name: str, **kinds: type[Any]) -> None:
    """Raise BadAnswerError unless each item of a list in an answer has these fields, of these kinds."""
    for item in answer.get(name) or ():
        for field, kind in kinds.items():
            value = item.get(field) if isinstance(item, dict) else None
            try:
                sound = isinstance(value, kind) and not (isinstance(value, int) and value < 0)
                if isinstance(value, datetime):
                    value.timestamp()  # an offset of four days is noticed by who uses it
            except (ValueError, OverflowError):
                sound = False
            if not sound:
                raise BadAnswerError(f"No{field}")


def is_of_parser(error: BaseException, module: str) -> bool:
    """Whether it was raised while a client's module made values of an answer: a size or date that is none."""
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_globals.get("__name__") == module:
            return True
        step = step.tb_next
    return False


def code_of(error: BaseException) -> str | None:
    """The store's own error code (`NoSuchBucket`, `SlowDown`), where the exception carries one."""
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
