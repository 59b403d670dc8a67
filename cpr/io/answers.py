"""What clients raise about answers that are no store's, and about settings that lead to none."""

from __future__ import annotations

import re

__all__ = ["BadAnswerError", "SetupError", "code_of", "require_other", "require_range"]


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
