"""Finds out from an object's name which target it belongs to.

results/denoised/cell-64320e5f606d65a8.tif               a target
results/denoised/.cpr/cell-64320e5f606d65a8.tif.blocks   beside it, and of no use without it
results/stack-9229789bc00346cb.zarr/c/0/0                part of a target that is a folder
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cpr.io import object_of_sidecar
from cpr.io.hashing import hex16
from cpr.records.registry import known_extensions

__all__ = ["ObjectOwner", "is_data", "number_of", "owner_of"]

_NAMED = r"[^/\\]+-[0-9a-f]{16}"
# The folder of a Zarr, or a file; then what is inside or beside it.
_FOLDER = re.compile(rf"(.*?[/\\]|){_NAMED}(\.ome)?\.zarr(?=[/\\])", re.IGNORECASE | re.DOTALL)
_FILE = re.compile(rf"(.*[/\\]|){_NAMED}(?P<ext>\.[^/\\]+)", re.DOTALL)

# Files that hold data, whoever wrote them: they are not opened to see whether they are records.
_DATA = re.compile(
    r"(?<!\.json)(?<!\.jsonl)(?<!\.txt)(?<!\.log)(?<!\.yaml)(?<!\.yml)(?<!\.pkl)(?<!\.pickle)"
    r"\.(tiff?|csv|gz|bz2|xz|zst|tar|tgz|parquet|npy|npz|zarr|png|jpe?g|zip|h5|hdf5|czi|nd2|lif|part)$",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"[/\\]\.cpr[/\\]|\.zarr[/\\]", re.IGNORECASE)


@dataclass(frozen=True)
class ObjectOwner:
    """The target that an object belongs to, and its role.

    Attributes:
        target: the target's URL.
        part: "file", "inside" (of a target that is a folder), or "sidecar".
    """

    target: str
    part: str


def owner_of(url: str) -> ObjectOwner | None:
    """The target that an object belongs to, by its name; None if the object is not cpr's.

    >>> owner_of("s3://bucket/.cpr/cell-64320e5f606d65a8.tif.blocks").target
    's3://bucket/cell-64320e5f606d65a8.tif'
    """
    if (inside := _FOLDER.match(url)) is not None:
        return ObjectOwner(inside[0], "inside")
    owner = object_of_sidecar(url)
    target, part = (url, "file") if owner is None else (owner, "sidecar")
    named = _FILE.fullmatch(target)
    if named is None or named["ext"].lower() not in known_extensions():
        return None
    return ObjectOwner(target, part)


def is_data(url: str) -> bool:
    """Whether an object is not a record, by its name: data, or a sidecar of data.

    >>> is_data("raw/cell.tif"), is_data("records/93b1c1a0")
    (True, False)
    """
    return _DATA.search(url) is not None or owner_of(url) is not None or _HIDDEN.search(url) is not None


def number_of(url: str) -> int:
    """A 64-bit hash of a URL, to remember many of them."""
    return int(hex16(url.encode("utf-8", "surrogatepass")), 16)
