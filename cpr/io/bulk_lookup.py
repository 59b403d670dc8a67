"""Looks up size and version of many objects, by listings where these take fewer requests than one HEAD each.

The requested names are sorted and cut into runs, which are listed in parallel; each run is listed from its
first name on, and skips to the next name that no page has covered yet. A folder in which almost none of the
objects is requested costs one page for each run.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator

from cpr.errors import CprError
from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store
from cpr.io.parallel_map import parallel_map
from cpr.io.stores.base import PagingStore, Stat

__all__ = ["listed"]

log = logging.getLogger("cpr")

_RUN = 1000  # names: what a page holds
_AT_ONCE = 16
# A page takes a store and its client as long as some HEADs.
_LEAST_A_PAGE = 8


def listed(urls: Iterable[str]) -> dict[str, Stat]:
    """Look up objects in listings, as far as that takes fewer requests than asking for each object.

    What is missing here was not found, or not looked for: ask for it by `lookup`. Raises nothing of the
    store's: `lookup` of the rest will.
    """
    folders = defaultdict(set)
    for url in urls:
        folder, _, name = url.rpartition("/")
        folders[folder].add(name)
    runs = [(folder, run) for folder, names in folders.items() for run in _runs(sorted(names))]
    found: dict[str, Stat] = {}
    for some in parallel_map(lambda one: _listed_run(*one), runs, _AT_ONCE):
        found.update(some)
    return found


def _runs(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _RUN):
        run = names[start : start + _RUN]
        if len(run) >= _LEAST_A_PAGE:
            yield run


def _listed_run(folder: str, names: list[str]) -> dict[str, Stat]:
    found: dict[str, Stat] = {}
    try:
        store, path = open_store(folder)
        if not isinstance(store, PagingStore):
            return found
        while len(names) >= _LEAST_A_PAGE:
            with translate_errors(folder, "list"):
                objects, last = store.page_after(path, _before(names[0]))
            told = [name for name in names if last is None or name <= last]
            found |= {f"{folder}/{name}": objects[name] for name in told if name in objects}
            if last is None or len(told) < _LEAST_A_PAGE:
                break
            names = names[len(told) :]
    except CprError as error:
        log.debug("%s: not listed, after %s", folder, type(error).__name__)
    return found


def _before(name: str) -> str:
    """A text that sorts just before a name."""
    last = name[-1:]
    return name[:-1] + (f"{chr(ord(last) - 1)}~" if "!" < last <= "~" else "")
