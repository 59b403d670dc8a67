"""Finds the objects that match a glob pattern, by listings, none of which may fail unnoticed.

The globs of fsspec and of the standard library silently omit folders that could not be listed: a task would
run on half of its inputs. Here the error of a listing reaches the caller, and patterns mean the same on every
kind of storage: as in a shell, a name that begins with a dot matches only where the pattern spells the dot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from cpr.errors import CprError
from cpr.io.stores.base import Stat, Store, bucket_and_key, folder_prefix

__all__ = ["Listing", "has_magic", "matching", "matching_in_bucket", "names_in_bucket"]

_MAGIC = re.compile(r"[*?\[]")

Listed = tuple[Iterable[tuple[str, Stat]], Iterable[str]]

#: `listing(prefix, deep)` gives the objects whose keys begin with a prefix, and the folders (with a slash at
#: their ends); with `deep` all objects below as well, and no folders. A folder that is not there has nothing.
Listing = Callable[[str, bool], Listed]


def has_magic(pattern: str) -> bool:
    """Whether a path is a glob pattern."""
    return _MAGIC.search(pattern) is not None


def matching(pattern: str, listing: Listing, hidden: bool = False) -> Iterator[tuple[str, Stat]]:
    """Keys and stats of the objects that match a pattern with `*`, `?`, `[...]` or `**`.

    Lists no folder that cannot hold one. `hidden`: names that begin with a dot match like others. Raises what
    `listing` raises, and CprError for what is no pattern.
    """
    # A `**` within a step is a `*`.
    steps = [step if step == "**" else re.sub(r"\*+", "*", step) for step in pattern.split("/")]
    matches = _compiled(_expression(steps, hidden), pattern)
    for key, found in _candidates("", steps, listing, hidden):
        if matches(key) and not key.endswith("/"):
            yield key, found


def matching_in_bucket(
    store: Store,
    scheme: str,
    pattern: str,
    listing: Callable[[str, str, bool], Listed],
    hidden: bool = False,
) -> dict[str, Stat]:
    """URLs and stats of a bucket's objects that match; a pattern without magic may be one object's name.

    Args:
        store: where the bucket is.
        scheme: of its URLs, "s3".
        pattern: `bucket/key`; the bucket's name is no pattern.
        listing: as `Listing`, of a bucket.
        hidden: whether names that begin with a dot match like others.

    Raises FileNotFoundError for a bucket that does not exist.
    """
    bucket, key = bucket_and_key(pattern)
    if has_magic(key):
        found = dict(matching(key, partial(listing, bucket), hidden))
    else:
        stat = store.stat(pattern)
        if stat is None:
            store.require_container(pattern)
        found = {} if stat is None else {key: stat}
    return {f"{scheme}://{bucket}/{key}": stat for key, stat in found.items()}


def names_in_bucket(path: str, listing: Callable[[str, str, bool], Listed]) -> set[str]:
    """Names of the objects and folders in a folder of a bucket, without the folder's own marker."""
    bucket, key = bucket_and_key(path)
    prefix = folder_prefix(key)
    objects, folders = listing(bucket, prefix, False)
    return {found[len(prefix) :].rstrip("/") for found in (*(key for key, _ in objects), *folders)} - {""}


def _candidates(folder: str, steps: list[str], listing: Listing, hidden: bool) -> Iterator[tuple[str, Stat]]:
    """Objects below a folder that may match the steps of a pattern."""
    literal = next(index for index, step in enumerate(steps) if has_magic(step))
    folder += "".join(f"{step}/" for step in steps[:literal])
    step, rest = steps[literal], steps[literal + 1 :]
    everything = "**" in steps
    beginning = re.split(r"[*?\[]", step)[0]
    # MinIO takes no prefix that ends with a step "." or "..".
    objects, folders = listing(folder + ("" if beginning in (".", "..") else beginning), everything)
    if everything or not rest:
        yield from objects
        return
    matches = _compiled(_expression([step], hidden), step)
    for found in folders:
        if not matches(found[len(folder) : -1]):
            continue
        if any(has_magic(one) for one in rest):
            yield from _candidates(found, rest, listing, hidden)
        else:
            yield from listing(found + "/".join(rest), False)[0]


def _expression(steps: list[str], hidden: bool) -> str:
    """The steps of a pattern as a regular expression for whole keys."""
    no_dot = "" if hidden else r"(?!\.)"
    folders = f"(?:{no_dot}[^/]*/)*"
    *above, last = steps
    parts = [folders if step == "**" else f"{_translated(step, no_dot)}/" for step in above]
    return "".join(parts) + (f"{folders}{no_dot}[^/]+" if last == "**" else _translated(last, no_dot))


def _translated(step: str, no_dot: str) -> str:
    if not has_magic(step):
        return re.escape(step)
    found = ["(?=[^/])", "" if step.startswith(".") else no_dot]
    for part in re.findall(r"\*|\?|\[!?(?:\][^\]]*|[^\]]+)\]|.", step, re.DOTALL):
        if part == "*":
            found.append("[^/]*")
        elif part == "?":
            found.append("[^/]")
        elif len(part) > 1 and part != "[!]":
            negated = part[1] == "!"
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", part[1 + negated : -1])
            found.append(f"(?!/)[{'^' if negated else ''}{inside}]")
        else:
            found.append(re.escape(part))
    return "".join(found)


def _compiled(expression: str, pattern: str) -> Callable[[str], object]:
    try:
        return re.compile(expression, re.DOTALL).fullmatch
    except re.error:
        raise CprError(
            "not a glob pattern",
            field="pattern",
            expected="a path with *, ?, [...] or **",
            actual=ascii(pattern),
            remedy="correct the range in brackets; [[] stands for a bracket",
        ) from None
