"""Marks garbage to be deleted later, in lists that writers read: the first phase of a collection.

What is garbage is decided in `cpr.operations.gc_find_garbage`.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

from cpr import io
from cpr.errors import CprError
from cpr.io.gc_mark_lists import encode, marks_folder
from cpr.operations.gc_find_garbage import Candidate, Survey

__all__ = ["mark", "to_mark", "write_list"]

_MOST_NAMES = 50_000  # in one list: a few MB


def to_mark(
    found: Survey, deleted: Collection[str], is_old_enough: Callable[[Candidate], bool]
) -> list[Candidate]:
    """Select garbage that is not marked yet, and that is too old to be work in progress.

    Args:
        found: under the URLs of the collection.
        deleted: URLs of garbage that is gone already.
        is_old_enough: by the store's clock.
    """
    marked = {url for listed in found.marks for url in listed.urls}
    return [
        one
        for url, one in found.garbage.items()
        if url not in marked and url not in deleted and is_old_enough(one)
    ]


def mark(garbage: Iterable[Candidate], require_time: Callable[[], None]) -> None:
    """Mark garbage beside it as to be deleted.

    Args:
        garbage: to be deleted a grace period later.
        require_time: called after each list; raises if what the collection has read is too old
            by now; that list is removed then.

    Raises TransferError, and what `require_time` raises.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for one in garbage:
        folders[io.split(one.url)[0]].append(one.url)
    for location, urls in folders.items():
        for start in range(0, len(urls), _MOST_NAMES):
            place = io.join(marks_folder(location), f"{uuid.uuid4().hex}.json")
            write_list(place, urls[start : start + _MOST_NAMES])
            try:
                require_time()
            except CprError:
                # It says that it was written when that was begun, and is seen only now.
                io.remove(place)
                raise


def write_list(place: str, urls: Iterable[str]) -> None:
    """Write a list of marked objects by name. Raises TransferError."""
    with io.writing(place) as file:
        file.write(encode(io.split(url)[1] for url in urls))
