"""Groups results into samples: those that were made from the same raw data, by any number of tasks.

A sample is known by its sources, the resources that nothing at hand has made. Of several sources the one
counts that meets the fewest others: an image and the flat field of all images are a sample of the image. A
summary of several images belongs to none of them.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

__all__ = ["OF_SEVERAL", "sample_name", "samples"]

Sources = tuple[str, ...]

OF_SEVERAL: Sources = ()
"""The sample of what was made of several."""

_ENDINGS = re.compile(r"(\.[A-Za-z]\w*)+$")
_KEYED = re.compile(r"-[0-9a-f]{16}$")
_MOST = 64  # sources of one result that are told apart
_FEW = 4  # sources, of which all parts are looked for


def samples(inputs: Mapping[str, Sequence[str]]) -> dict[str, Sources]:
    """The sample of each result: its sources' URLs, or `OF_SEVERAL`.

    Args:
        inputs: by URL of each result, the URLs that it was made of.

    >>> made_of = {"mask 1": ["raw 1", "flat"], "table 1": ["mask 1"], "mask 2": ["raw 2", "flat"],
    ...            "all": ["table 1", "mask 2"]}
    >>> samples(made_of)
    {'mask 1': ('raw 1',), 'table 1': ('raw 1',), 'mask 2': ('raw 2',), 'all': ()}
    """
    sources = _sources(inputs)
    sets = _Sets(found for found in sources.values() if found is not None)
    partners: dict[str, set[str]] = defaultdict(set)
    for one in sets.all:
        if not sets.is_summary(one):
            for source in one:
                partners[source] |= one - {source}
    own = {one: _with_fewest(one, partners) for one in sets.all}
    samples_of = _Sets(own.values())
    return {
        url: OF_SEVERAL if found is None or samples_of.parts(own[found]) else tuple(sorted(own[found]))
        for url, found in sources.items()
    }


def _with_fewest(one: frozenset[str], partners: Mapping[str, set[str]]) -> frozenset[str]:
    counts = {source: len(partners.get(source, ())) for source in one}
    fewest = min(counts.values())
    return frozenset(source for source, count in counts.items() if count == fewest)


class _Sets:
    """Distinct sets of sources, indexed for finding subsets."""

    def __init__(self, sets: Iterable[frozenset[str]]) -> None:
        self.all = set(sets)
        self._with: dict[str, list[frozenset[str]]] = defaultdict(list)
        for one in self.all:
            for source in one:
                self._with[source].append(one)

    def parts(self, one: frozenset[str]) -> list[frozenset[str]]:
        """The proper subsets of a set; for a large set, those that contain its rarest source."""
        if len(one) <= _FEW:
            found = (frozenset(part) for size in range(1, len(one)) for part in combinations(one, size))
            return [part for part in found if part in self.all]
        rarest = min(one, key=lambda source: len(self._with[source]))
        return [other for other in self._with[rarest] if other < one]

    def is_summary(self, one: frozenset[str]) -> bool:
        """Whether a set combines others that have more than one source each."""
        if len(one) > _FEW:
            return bool(self.parts(one))
        joined = [part for part in self.parts(one) if len(part) > 1]
        return any(not (a <= b or b <= a) for a, b in combinations(joined, 2))


def _sources(inputs: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str] | None]:
    """The sources that each result goes back to; None if there are too many to distinguish."""
    found: dict[str, frozenset[str] | None] = {}
    for first in inputs:
        # Depth first without recursion: chains of tasks may be long. What feeds itself is followed once.
        waiting: list[tuple[str, Iterator[str]]] = (
            [(first, iter(inputs[first]))] if first not in found else []
        )
        under_way = {first}
        while waiting:
            url, others = waiting[-1]
            following = next(
                (one for one in others if one in inputs and one not in found and one not in under_way), None
            )
            if following is not None:
                under_way.add(following)
                waiting.append((following, iter(inputs[following])))
                continue
            found[url] = _joined(url, inputs, found)
            under_way.discard(url)
            waiting.pop()
    return found


def _joined(
    url: str, inputs: Mapping[str, Sequence[str]], found: Mapping[str, frozenset[str] | None]
) -> frozenset[str] | None:
    if not inputs[url]:
        return frozenset({url})
    joined: frozenset[str] = frozenset()
    for one in inputs[url]:
        others = found.get(one, frozenset()) if one in inputs else frozenset({one})
        if others is None:
            return None
        joined = others if not joined else joined | others if not others <= joined else joined
        if len(joined) > _MOST:
            return None
    return joined or frozenset({url})


def sample_name(sources: Sources) -> str:
    """A name for a sample: the file name of its source, or the common beginning of several.

    >>> sample_name(("s3://bucket/raw/B03.ome.zarr",)), sample_name(("raw/B03_c1.tif", "raw/B03_c2.tif"))
    ('B03', 'B03')
    """
    files = (url.rstrip("/").rpartition("/")[2] for url in sources)
    names = [_KEYED.sub("", _ENDINGS.sub("", file)) for file in files]
    shared = os.path.commonprefix(names)  # noqa: RUF071 - of names, not of folders
    if len(names) > 1:
        shared = re.sub(r"[\W_]+[A-Za-z]*$", "", shared) or f"{names[0]} and {len(names) - 1} more"
    return shared or "of several samples"
