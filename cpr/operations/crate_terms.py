"""How a crate spells its entities, references and URLs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from cpr.io.hashing import hex16
from cpr.io.urls import protocol_of, split
from cpr.operations.namesakes import alike
from cpr.provenance.made import Input

__all__ = ["Entity", "places_of_data", "plain", "ref", "shown", "uri_of"]

Entity = dict[str, Any]


def plain(entity: Entity) -> Entity:
    """Lists of one value as that value, which is how RO-Crate spells them; none of an empty one."""
    single = {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in entity.items()
        if value != []
    }
    return {**single, "@type": entity["@type"]}


def ref(place: str) -> Entity:
    """A reference to an entity."""
    return {"@id": place}


def places_of_data(urls: Iterable[str]) -> dict[str, str]:
    """Where in a crate copies of results come to, each with its own name: in `data`.

    Results that a disk may take for one (the same name in two folders, or one that differs by case or in how
    Unicode spells it) come to a folder below it each, named by a digest of their URL: wherever the crate is
    unpacked, whatever else is in it, none takes the place of another.

    >>> places_of_data(["s3://a/x.tif", "s3://b/X.tif", "s3://b/y.tif"])["s3://b/y.tif"]
    'data/y.tif'
    """
    names = {url: split(url)[1] for url in urls}
    several = alike(names.values())
    return {
        url: f"data/{hex16(url.encode())}/{name}" if name in several else f"data/{name}"
        for url, name in names.items()
    }


def uri_of(url: str) -> str:
    """A URL as RFC 3986 spells it; of a local path, that of its file."""
    if protocol_of(url) == "file":
        path = url.replace(os.sep, "/")
        return "file://" + quote(path if path.startswith("/") else f"/{path}")
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(rest)}"


def shown(one: Input) -> Any:
    """What is kept of an argument, as the value of a property."""
    said = one.to_json()
    return said if isinstance(said, (str, int, float, bool)) else json.dumps(said)
