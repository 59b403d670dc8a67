"""Finds an earlier result with equal chunks, so that only changed ones are uploaded."""

from __future__ import annotations

import glob
import logging
import math
import re
from typing import Any

import numpy as np

from cpr import io
from cpr.errors import CprError
from cpr.io.copying import can_copy
from cpr.io.shared_answers import SharedAnswers
from cpr.Target import Target
from cpr.zarr.stores.copy_unchanged import Earlier
from cpr.zarr.stores.manifest import Manifest, manifest_url
from cpr.zarr.stores.recording_store import RecordingStore

__all__ = ["find_earlier", "nbytes_of", "traffic_of"]

log = logging.getLogger("cpr")

# For less a listing and a manifest take as long as they save.
_LEAST_BYTES = 1 << 20
_KEPT = 64

_chosen: SharedAnswers[str, Earlier | None] = SharedAnswers(_KEPT)


def find_earlier(target: Target, url: str, options: Any, nbytes: int) -> Earlier | None:
    """Find the result whose equal objects are copied; None if there is none, or copying is impossible.

    By default it is the newest of the target's name, for which its folder is listed once: not for small
    arrays, nor where the store cannot copy. What is wrong with it is logged, and no error.

    Args:
        target: the target that is written.
        url: of the hierarchy that is written.
        options: of the target, of which `base` says which result.
        nbytes: of the data that are written.
    """
    base = options.base
    if base is False or (base is None and nbytes < _LEAST_BYTES):
        return None

    def choose() -> Earlier | None:
        try:
            return _newest(target, url) if base is None else _given(base, url)
        except CprError as error:
            log.log(
                logging.DEBUG if base is None else logging.WARNING, "all of %s is uploaded: %s", url, error
            )
            return None

    return _chosen.get(url, choose)


def _given(base: str, url: str) -> Earlier | None:
    if not can_copy(base, url):
        log.info("all of %s is uploaded: its store copies nothing from %s", url, base)
        return None
    manifest = Manifest.stored(base)
    if manifest is None:
        log.warning("all of %s is uploaded: no Zarr of cpr's is at %s", url, base)
        return None
    return Earlier.of(manifest)


def _newest(target: Target, url: str) -> Earlier | None:
    if not can_copy(url, url):
        return None
    named = glob.escape(io.join(target.location, target.name))
    ours = re.compile(re.escape(f"{target.name}-") + "[0-9a-f]{16}" + re.escape(target.ext))
    found = {}
    for place, stat in io.find(manifest_url(f"{named}-*{glob.escape(target.ext)}"), hidden=True).items():
        owner = io.object_of_sidecar(place)
        if owner is not None and ours.fullmatch(io.split(owner)[1]):
            found[owner] = stat.modified
    if not found:
        return None
    manifest = Manifest.stored(max(found, key=lambda owner: (found[owner], owner)))
    return None if manifest is None else Earlier.of(manifest)


def nbytes_of(source: Any) -> int:
    """Size of all elements of an array in bytes."""
    nbytes: int = math.prod(source.shape) * np.dtype(source.dtype).itemsize
    return nbytes


def traffic_of(store: RecordingStore, manifest: Manifest) -> tuple[int, int]:
    """Log and return how many bytes of a result were uploaded, manifest included, and how many copied."""
    uploaded, copied = store.written.uploaded + manifest.nbytes, store.written.copied
    if store.earlier is not None:
        log.info("%s: %d bytes uploaded, %d copied from %s", store.url, uploaded, copied, store.earlier.url)
    return uploaded, copied
