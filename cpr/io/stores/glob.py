"""Objects that match a glob pattern, found by listings alone, none of which may fail unnoticed.

fsspec's own glob leaves out what it could not list, and says nothing: a task would run on half of its
inputs. Here whatever a listing raises reaches the caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from fsspec.utils import glob_translate

from cpr.io.stores.base import Stat, Store, bucket_and_key
from cpr.io.urls import normalise

__all__ = ["Listing", "has_magic", "matching", "matching_in_bucket"]

_MAGIC = re.compile(r"[*?\[]")

Listed = tuple[Iterable[tuple[str, Stat]], Iterable[str]]

#: `listing(prefix, deep)` gives the objects whose keys begin with a prefix, and the folders (with a slash at
#: their ends); with `deep` all objects below as well, and no folders. A folder that is not there has nothing.
Listing = Callable[[str, bool], Listed]


def has_magic(pattern: str) -> bool:
    """Whether a path is a glob pattern."""
    return _MAGIC.search(pattern) is not None


def matching(pattern: str, listing: Listing) -> Iterator[tuple[str, Stat]]:
    """Keys and stats of the objects that match a pattern with `*`, `?`, `[...]` or `**`.

    Lists no folder that cannot hold one. Raises what `listing` raises.
    """
    matches = re.compile(glob_translate(pattern)).match
    for key, found in _candidates("", pattern.split("/"), listing):
        if matches(key) and not key.endswith("/"):
            yield key, found


def matching_in_bucket(
    store: Store, scheme: str, pattern: str, listing: Callable[[str, str, bool], Listed]
) -> dict[str, Stat]:
    """URLs and stats of the objects of a bucket that match; a pattern without magic may be one object's name.

    Args:
        store: where the bucket is.
        scheme: of its URLs, "s3".
        pattern: `bucket/key`; the bucket's name is no pattern.
        listing: as `Listing`, of a bucket.

    Raises FileNotFoundError for a bucket that does not exist.
    """
    bucket, key = bucket_and_key(pattern)
    if has_magic(key):
        found = dict(matching(key, partial(listing, bucket)))
    else:
        stat = store.stat(pattern)
        if stat is None:
            store.require_container(pattern)
        found = {} if stat is None else {key: stat}
    return {normalise(f"{scheme}://{bucket}/{key}"): stat for key, stat in found.items()}


def _candidates(folder: str, steps: list[str], listing: Listing) -> Iterator[tuple[str, Stat]]:
    """Objects that may match the steps of a pattern below a folder."""
    literal = next(index for index, step in enumerate(steps) if has_magic(step))
    folder += "".join(f"{step}/" for step in steps[:literal])
    step, rest = steps[literal], steps[literal + 1 :]
    everything = any("**" in one for one in steps)
    objects, folders = listing(folder + re.split(r"[*?\[]", step)[0], everything)
    if everything or not rest:
        yield from objects
        return
    matches = re.compile(glob_translate(step)).match
    for found in folders:
        if not matches(found[len(folder) : -1]):
            continue
        if any(has_magic(one) for one in rest):
            yield from _candidates(found, rest, listing)
        else:
            yield from listing(found + "/".join(rest), False)[0]
