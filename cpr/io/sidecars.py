"""URLs of sidecar files, which are kept beside an object in a hidden folder `.cpr`.

    results/cell-64320e5f606d65a8.tif
    results/.cpr/cell-64320e5f606d65a8.tif.blocks         digests of its blocks (see `cpr.io.block_digests`)
    results/.cpr/cell-64320e5f606d65a8.tif.preview.png    what a person sees of it, or .preview.json
    results/.cpr/cell-64320e5f606d65a8.zarr.unfinished    it is being written (see `cpr.io.write_markers`)
    results/.cpr/cell-64320e5f606d65a8.zarr.<16 hex digits>.digests     digests of one of its parts
    results/.cpr/cell-64320e5f606d65a8.tif.<16 hex digits>.made.json    the rest of its provenance

Patterns that find results do not find these, and without the object they are of no use.
"""

from __future__ import annotations

import re

from cpr.io.urls import join, split

__all__ = ["object_of_sidecar", "sidecar_url"]

_FOLDER = re.compile(r"(.*)[/\\]\.cpr", re.DOTALL)
_KEPT = re.compile(
    r"(.+?)\.(?:blocks|unfinished|preview\.(?:png|json)|[0-9a-f]{16}\.(?:made\.json|digests))", re.DOTALL
)


def sidecar_url(url: str, ending: str) -> str:
    """URL of a sidecar file that belongs to an object.

    >>> sidecar_url("s3://bucket/results/cell.tif", ".blocks")
    's3://bucket/results/.cpr/cell.tif.blocks'
    """
    location, name = split(url)
    return join(join(location, ".cpr"), f"{name}{ending}")


def object_of_sidecar(url: str) -> str | None:
    """The object that a sidecar belongs to; None if the URL is not a sidecar's.

    >>> object_of_sidecar("s3://bucket/results/.cpr/cell.tif.preview.png")
    's3://bucket/results/cell.tif'
    """
    folder, name = split(url)
    place, kept = _FOLDER.fullmatch(folder), _KEPT.fullmatch(name)
    return None if place is None or kept is None else join(place[1], kept[1])
