"""Spelling of a crate's entities, references and URLs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Hashable, Iterable
from itertools import chain, count
from typing import Any
from urllib.parse import quote

from cpr.io.hashing import hex16
from cpr.io.urls import protocol_of, split
from cpr.operations.resolve_references import alike, as_disks_see
from cpr.provenance.provenance_record import Input

__all__ = ["Entity", "Ids", "detail", "places_of_data", "plain", "quoted", "ref", "shown", "uri_of"]

Entity = dict[str, Any]


def plain(entity: Entity) -> Entity:
    """Replace lists of one value by the value, and drop empty lists, as RO-Crate requires."""
    single = {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in entity.items()
        if value != []
    }
    return {**single, "@type": entity["@type"]}


def ref(place: str) -> Entity:
    """A reference to an entity."""
    return {"@id": place}


class Ids:
    """Assigns unique ids to the entities of a crate.

    A thing gets the id that it asks for. Where another has that, a number makes it its own; of a URL this is
    a fragment, so that it still leads to the same place.

    >>> ids = Ids(["https://a/b"])
    >>> [ids.of(("task", name), f"#task-{name}") for name in "aba"]
    ['#task-a', '#task-b', '#task-a']
    >>> ids.of("a source", "https://a/b"), ids.of("a value", "#task-a")
    ('https://a/b#2', '#task-a-2')
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._known: dict[Hashable, str] = {}
        self._numbers: Counter[str] = Counter()

    def of(self, thing: Hashable, wanted: str) -> str:
        """The id of an entity: the requested one if it is free, else a variant."""
        if thing not in self._known:
            place = wanted
            while place in self._taken:
                self._numbers[wanted] += 1
                place = detail(wanted, str(self._numbers[wanted] + 1))
            self._taken.add(place)
            self._known[thing] = place
        return self._known[thing]


def detail(place: str, name: str) -> str:
    """An id derived from another one, for a part of that entity. A URL has one fragment at most.

    >>> detail("s3://b/a.tif", "etag"), detail("#task-a", "b c")
    ('s3://b/a.tif#etag', '#task-a-b%20c')
    """
    return f"{place}{'-' if '#' in place else '#'}{quoted(name)}"


def places_of_data(urls: Iterable[str]) -> dict[str, str]:
    """Places of copied results in a crate, each with its own name in `data`.

    Results that a disk may take for one (the same name in two folders, or one that differs by case or in how
    Unicode spells it) come to a folder below it each, named by a digest of their URL: wherever the crate is
    unpacked, whatever else is in it, none takes the place of another.

    >>> places_of_data(["s3://a/x.tif", "s3://b/X.tif", "s3://b/y.tif"])["s3://b/y.tif"]
    'data/y.tif'
    """
    names = {url: split(url)[1] for url in urls}
    several = alike(names.values())
    seen = {as_disks_see(name) for name in names.values()}  # as which no folder is named
    places: dict[str, str] = {}
    for url, name in names.items():
        place = name
        if name in several:
            digest = hex16(url.encode("utf-8", "surrogatepass"))
            # Digests of 64 bits can be made to be alike.
            folders = chain([digest], (f"{digest}-{number}" for number in count(2)))
            free = (f"{one}/{name}" for one in folders if one not in seen)
            place = next(one for one in free if as_disks_see(one) not in seen)
            seen.add(as_disks_see(place))
        places[url] = f"data/{place}"
    return places


def quoted(text: str) -> str:
    """Percent-encode a text for a URL."""
    return quote(text, errors="surrogatepass")


def uri_of(url: str) -> str:
    """A URL spelled according to RFC 3986; for a local path a file URI."""
    scheme, found, rest = url.partition("://")
    if not (found and scheme) or protocol_of(url) == "file":
        path = url.replace(os.sep, "/")
        return "file://" + quoted(path if path.startswith("/") else f"/{path}")
    return f"{quote(scheme, safe=':+', errors='surrogatepass')}://{quoted(rest)}"


def shown(one: Input) -> Any:
    """The value of an argument as the value of a property."""
    said = one.to_json()
    return said if isinstance(said, (str, int, float, bool)) else json.dumps(said)
