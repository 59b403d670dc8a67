"""Lists the metadata documents of all arrays and groups inside a group."""

from __future__ import annotations

import zarr

from cpr.errors import CprError
from cpr.zarr.typed_error_nodes import Node

__all__ = ["MOST_INNER", "inner_metadata"]

MOST_INNER = 1000
"""Arrays and groups that are looked at unasked: each takes a request or two."""

_OF_FORMAT_2 = {zarr.Array: (".zarray", ".zattrs"), zarr.Group: (".zgroup", ".zattrs")}


def inner_metadata(node: Node) -> list[str] | None:
    """Keys, relative to a group, of the metadata of every array and group inside; empty for an array.

    None where they cannot be had: there are more than MOST_INNER, the store does not list them, or some are
    broken.
    """
    found: list[str] = []
    waiting = [("", node)]
    count = 0
    while waiting:
        folder, group = waiting.pop()
        if not isinstance(group, zarr.Group):
            continue
        try:
            members = group.members()
        except CprError:
            return None
        count += len(members)
        if count > MOST_INNER:
            return None
        for name, inner in members:
            kind = zarr.Group if isinstance(inner, zarr.Group) else zarr.Array
            names = ("zarr.json",) if inner.metadata.zarr_format == 3 else _OF_FORMAT_2[kind]
            found += [f"{folder}{name}/{one}" for one in names]
            waiting.append((f"{folder}{name}/", inner))
    return sorted(found)
