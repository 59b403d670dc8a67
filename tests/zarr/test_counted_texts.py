"""Chunks of a few bytes that claim any number of texts: refused before an array of so many is made."""

from __future__ import annotations

import copy
import pickle
import struct
import tracemalloc
import warnings
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import VLenBytesCodec, VLenUTF8Codec
from zarr.core.dtype import VariableLengthBytes

import cpr
from cpr.errors import DecodeError
from cpr.zarr.stores.metadata_check import _OBJECT_CODECS

CLAIMS = [2**32 - 1, 2**31, 2**24, 17]


def put(place: Path, kind: str, **options) -> zarr.Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "bytes":
            data = np.array([b"one", b"three"], object)
            dtype = VariableLengthBytes()
        else:
            data, dtype = np.array(["one", "thrée"]), str
        array = zarr.create_array(str(place), shape=(2,), dtype=dtype, compressors=None, **options)
        array[...] = data
    return array


def chunk_of(place: Path) -> Path:
    [found] = [
        path for path in place.rglob("*") if path.is_file() and not path.name.startswith((".z", "zarr"))
    ]
    return found


OPTIONS = {
    "version 3": {"chunks": (2,)},
    "in a shard": {"chunks": (2,), "shards": (2,)},
    "version 2": {"zarr_format": 2, "chunks": (2,)},
}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("kind", ["text", "bytes"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_chunk_that_claims_more_than_it_has_bytes_for(options, kind, claim, tmp_path, monkeypatch):
    monkeypatch.setenv("CPR_ZARR_CODECS", "vlen-utf8,vlen-bytes")
    put(tmp_path / "a.zarr", kind, **options)
    source = cpr.ZarrSource.from_path(tmp_path / "a.zarr")
    assert len(source.get_data()[...]) == 2  # opened before, so that imports do not count
    path = chunk_of(tmp_path / "a.zarr")
    data = path.read_bytes()
    begin = data.index(b"one") - 8
    path.write_bytes(data[:begin] + struct.pack("<I", claim) + data[begin + 4 :])
    array = cpr.ZarrSource.from_path(tmp_path / "a.zarr").get_data()
    for read in (
        lambda: array[...],
        lambda: copy.deepcopy(array)[...],
        lambda: pickle.loads(pickle.dumps(array))[...],
        lambda: cpr.ZarrSource.from_path(tmp_path / "a.zarr").get_data(region=np.s_[:1]),
    ):
        tracemalloc.start()
        with pytest.raises(DecodeError, match=f"claims {claim} texts") as caught:
            read()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 4 << 20
        assert caught.value.remedy


@pytest.mark.parametrize("kind", ["text", "bytes"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_chunk_as_it_was_written(options, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("CPR_ZARR_CODECS", "vlen-utf8,vlen-bytes")
    put(tmp_path / "a.zarr", kind, **options)
    expected = zarr.open_array(str(tmp_path / "a.zarr"), mode="r")[...]
    array = cpr.ZarrSource.from_path(tmp_path / "a.zarr").get_data()
    for one in (array, copy.deepcopy(array), pickle.loads(pickle.dumps(array))):
        assert one[...].tolist() == expected.tolist()


def test_in_a_group(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    group.create_array("names", shape=(2,), dtype=str, compressors=None)[...] = np.array(["one", "two"])
    path = chunk_of(tmp_path / "a.zarr")
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(DecodeError, match="claims"):
        cpr.ZarrSource.from_path(tmp_path / "a.zarr").get_data()["names"][...]


def test_an_empty_chunk_of_no_texts_is_numcodecs_own_affair(tmp_path, monkeypatch):
    monkeypatch.setenv("CPR_ZARR_CODECS", "vlen-utf8,vlen-bytes")
    put(tmp_path / "a.zarr", "text")
    chunk_of(tmp_path / "a.zarr").write_bytes(b"\0\0")
    with pytest.raises(DecodeError):
        cpr.ZarrSource.from_path(tmp_path / "a.zarr").get_data()[...]


def test_every_codec_that_counts_is_held_to_it():
    """Numcodecs has three, of which version 3 has two."""
    from cpr.zarr import bounded_text_codecs

    for codec in (numcodecs.VLenUTF8(), numcodecs.VLenBytes(), numcodecs.VLenArray("<i4")):
        found = bounded_text_codecs._counted_filter(codec)
        assert found.codec_id == codec.codec_id and found.get_config() == codec.get_config()
        with pytest.raises(ValueError, match="claims"):
            found.decode(struct.pack("<I", 2**30) + b"\0" * 60)
        filled = np.empty(2, object)
        filled[:] = {"vlen-utf8": ["a", "b"], "vlen-bytes": [b"a", b"b"]}.get(
            codec.codec_id, [np.arange(2)] * 2
        )
        assert len(found.decode(codec.encode(filled))) == 2
    assert {"vlen-utf8", "vlen-bytes"} == _OBJECT_CODECS
    for own in (VLenUTF8Codec(), VLenBytesCodec()):
        assert isinstance(bounded_text_codecs._counted(own), type(own))
        assert bounded_text_codecs._counted(own).to_dict() == own.to_dict()
