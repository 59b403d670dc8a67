"""How a crate spells its entities, references and URLs."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

from cpr.io.urls import protocol_of
from cpr.provenance.made import Input

__all__ = ["Entity", "last_of", "plain", "ref", "shown", "uri_of"]

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


def last_of(url: str) -> str:
    """The name at the end of a URL or path."""
    return url.replace("\\", "/").rstrip("/").rpartition("/")[2]


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
