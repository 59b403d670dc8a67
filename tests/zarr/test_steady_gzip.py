"""Arrays with gzip are the same bytes whenever they are written: zarr would put the time into them."""

from __future__ import annotations

import time

import dask.array as da
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import GzipCodec
from zarr.codecs.numcodecs import GZip

import cpr

DATA = np.random.default_rng(0).integers(1, 60_000, (6, 64, 96)).astype("uint16")
CHUNKS = {"chunks": (2, 64, 96)}
SHARDS = {"chunks": (1, 32, 48), "shards": (2, 64, 96)}
OPTIONS = {
    "format 2": {**CHUNKS, "zarr_format": 2, "compressors": "gzip"},
    "format 2, its codec": {**CHUNKS, "zarr_format": 2, "compressors": numcodecs.GZip(1)},
    "format 3": {**CHUNKS, "compressors": "gzip"},
    "format 3, its codec": {**CHUNKS, "compressors": [GzipCodec(level=0)]},
    "shards": {**SHARDS, "compressors": "gzip"},
    "numcodecs": {**CHUNKS, "compressors": [GZip(level=3)]},
}


def _at_once(target: cpr.ZarrTarget) -> str:
    target.set_data(DATA)
    return target.persist().checksum


def _of_dask(target: cpr.ZarrTarget) -> str:
    target.set_data(da.from_array(DATA, chunks=(2, 64, 96)))
    return target.persist().checksum


def _in_parts(target: cpr.ZarrTarget) -> str:
    parts = []
    for region in target.regions((2,)):
        part = target.part(region)
        part.set_data(DATA[region])
        parts.append(part.persist())
    return target.assemble(parts).persist().checksum


WAYS = {"at once": _at_once, "of dask": _of_dask, "in parts": _in_parts}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_the_same_whenever_it_is_written(options, way, tmp_path, monkeypatch):
    given = {**OPTIONS[options], **({"shape": DATA.shape, "dtype": "uint16"} if way == "in parts" else {})}
    checksums, real = set(), time.time
    for name in "ab":
        target = cpr.ZarrTarget.from_path(tmp_path / name / "a.zarr", **given)
        checksums.add(WAYS[way](target))
        found = zarr.open_array(target.url, mode="r")
        assert np.array_equal(found[...], DATA)
        assert "gzip" in str(found.metadata.to_dict())
        monkeypatch.setattr(time, "time", lambda: real() + 1000)
    assert len(checksums) == 1


def test_pyramids_as_well(tmp_path, monkeypatch):
    checksums, real = set(), time.time
    for name in "ab":
        target = cpr.OMEZarrTarget.from_path(
            tmp_path / name / "a.ome.zarr", chunks=(1, 32, 48), compressors="gzip"
        )
        target.set_data(DATA)
        checksums.add(target.persist().checksum)
        monkeypatch.setattr(time, "time", lambda: real() + 1000)
    assert len(checksums) == 1


def test_and_chunks_of_their_smaller_levels_that_no_part_has_whole(tmp_path, monkeypatch):
    """The assembly makes them, of what the parts have written."""
    checksums, real = set(), time.time
    for name in "ab":
        target = cpr.OMEZarrTarget.from_path(
            tmp_path / name / "a.ome.zarr",
            shape=DATA.shape,
            dtype="uint16",
            chunks=(1, 32, 32),
            levels=3,
            compressors="gzip",
        )
        parts = []
        for start in range(0, 96, 32):
            part = target.part(np.s_[:, :, start : start + 32])
            part.set_data(DATA[:, :, start : start + 32])
            parts.append(part.persist())
        target.assemble(parts)
        checksums.add(target.persist().checksum)
        monkeypatch.setattr(time, "time", lambda: real() + 1000)
    assert len(checksums) == 1
