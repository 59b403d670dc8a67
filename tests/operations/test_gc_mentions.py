"""Whatever names a target keeps it, however that is written: spellings x holders x wrappings."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import os
import pickle
import time
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.serializers import (
    CompressedJSONSerializer,
    CompressedPickleSerializer,
    JSONSerializer,
    PickleSerializer,
)

import cpr
from cpr import io
from cpr.operations.gc import collect
from cpr.operations.gc_find_garbage import _keys_named
from cpr.operations.gc_mentions import UnsearchableError, keys_in_object, keys_in_value
from cpr.operations.scan import read_record
from tests.stored_flow import prefect_record, put, store

KEY = "64320e5f606d65a8"
URL = f"s3://bucket/results/cell-{KEY}.tif"

SPELLINGS: dict[str, Callable[[str], Any]] = {
    "URL": lambda url: url,
    "file URL": lambda url: f"file://{url}",
    "percent-encoded": lambda url: quote(url, safe=""),
    "percent-encoded twice": lambda url: quote(quote(url, safe=""), safe=""),
    "percent-encoded wholly": lambda url: "".join(f"%{ord(letter):02x}" for letter in url),
    "file name": lambda url: url.rpartition("/")[2],
    "relative": lambda url: "../results/" + url.rpartition("/")[2],
    "of Windows": lambda url: url.replace("/", "\\"),
    "part of a sentence": lambda url: f"see {url}, please",
    "key of an object": lambda url: {url: 1},
    "escaped in JSON": lambda url: Raw("".join(f"\\u{ord(letter):04x}" for letter in url)),
    "JSON in JSON": lambda url: json.dumps(json.dumps({"url": url})),
    "a query": lambda url: f"https://viewer.org/?image={quote(url)}#x",
    "a record": lambda url: {"__cpr__": {"type": "Plugin", "location": "x", "name": "cell", "key": KEY}},
    "key alone": lambda _: KEY,
    "pickle in base64 in JSON": lambda url: base64.b64encode(pickle.dumps([url] * 3)).decode(),
    "gzip in base64 in JSON": lambda url:
    base64.b64encode(gzip.compress(bytes(range(99)) + url.encode())).decode(),
}  # fmt: skip


class Raw(str):
    """A text whose escapes stay as they are."""

    __slots__ = ()


def as_json(value: Any) -> bytes:
    if isinstance(value, Raw):
        return b'{"a": ["' + value.encode() + b'"]}'
    return json.dumps({"a": [value]}).encode()


HOLDERS: dict[str, Callable[[Any], bytes]] = {
    "JSON": as_json,
    "JSON over lines": lambda value: as_json(value).replace(b", ", b",\n  "),
    "text": lambda value: as_json(value)[1:-1],
    "UTF-16": lambda value: as_json(value).decode().encode("utf-16"),
    "UTF-32": lambda value: as_json(value).decode().encode("utf-32-le"),
    "Latin-1": lambda value: "größe ".encode("latin-1") + as_json(value),
    **{
        f"pickle {protocol}": lambda value, protocol=protocol: pickle.dumps({"x": [value]}, protocol)
        for protocol in (2, 3, 4, 5)
    },
    "pickle of an array": lambda value: pickle.dumps(np.array([str(value)])),
    "after a megabyte": lambda value: b'{"x": "' + b"-" * (1 << 20) + b'", "y": ' + as_json(value) + b"}",
}  # fmt: skip

HOLDERS["base64 lines in JSON in JSON"] = lambda value: json.dumps(
    json.dumps({"blob": base64.encodebytes(pickle.dumps([value, "-" * 99])).decode()})
).encode()


def zipped(blob: bytes) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", blob)
    return file.getvalue()


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda blob: blob,
    "base64": lambda blob: base64.encodebytes(blob),
    "gzip": gzip.compress,
    "zip": zipped,
    "gzip of two": lambda blob: gzip.compress(blob[:7]) + gzip.compress(blob[7:]),
    "zlib": zlib.compress,
    "zlib, fast": lambda blob: zlib.compress(blob, 1),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda blob: lzma.compress(blob, lzma.FORMAT_ALONE),
    "zstd": lambda blob: pa.compress(blob, "zstd", asbytes=True),
    "lz4": lambda blob: pa.compress(blob, "lz4", asbytes=True),
}


def keys_of(blob: bytes) -> set[int]:
    place = put(f"memory://mentions/{time.monotonic_ns()}", blob)
    try:
        return keys_in_object(place, len(blob))
    finally:
        io.remove(place)


@given(
    st.sampled_from(list(SPELLINGS)),
    st.sampled_from(list(HOLDERS)),
    st.lists(st.sampled_from(list(WRAPPINGS)), max_size=3),
)
def test_whatever_names_a_target_is_found(spelling, holder, wrappings):
    blob = HOLDERS[holder](SPELLINGS[spelling](URL))
    for wrapping in wrappings:
        blob = WRAPPINGS[wrapping](blob)
    assert int(KEY, 16) in keys_of(blob)


@pytest.mark.parametrize("offset", [*range(-40, 41, 8), -1, 1])
def test_a_key_at_the_border_of_what_is_read_at_once(offset):
    for unit in (1 << 20, 8 << 20):
        start = unit + offset
        assert int(KEY, 16) in keys_of(b"-" * start + URL.encode() + b"-" * 99)
        coded = base64.encodebytes(pickle.dumps("-" * start + URL))
        assert int(KEY, 16) in keys_of(coded)


@pytest.mark.parametrize(
    "blob",
    [
        b"0123456789abcdef" * 3,  # a digest
        os.urandom(3000),  # data
        bytes(4096),
        b"x^2 + y^2",
        b"BZhello",
        b"HelloWorld",
        b"",
    ],
)
def test_other_content_names_nothing_and_stops_nothing(blob):
    assert keys_of(blob) == set()


def test_what_grows_without_end_is_not_followed(monkeypatch):
    monkeypatch.setattr("cpr.operations.bounded_decompression._MOST_BYTES", 8 << 20)
    bomb = gzip.compress(gzip.compress(b"lorem ipsum dolo" * (1 << 20)))
    with pytest.raises(UnsearchableError, match="larger"):
        keys_of(bomb)
    blob = b"[]"
    for _ in range(12):
        blob = gzip.compress(blob)
    with pytest.raises(UnsearchableError, match="too many times"):
        keys_of(blob)


def _archive_of(content: bytes, count: int) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            archive.writestr(str(number), content)
    return packed.getvalue()


@pytest.mark.parametrize("kind", ["archives in archives", "texts of base64", "an archive of zeros"])
def test_all_layers_together_have_a_limit(kind, monkeypatch):
    monkeypatch.setattr("cpr.operations.bounded_decompression._MOST_BYTES", 4 << 20)
    monkeypatch.setattr("cpr.operations.bounded_decompression._MOST_ARCHIVE_BYTES", 2 << 20)
    blob = {
        "archives in archives": lambda: _archive_of(_archive_of(_archive_of(bytes(64 << 10), 8), 8), 8),
        "texts of base64": lambda: b" - ".join(64 * [base64.b64encode(zlib.compress(bytes(1 << 20)))]),
        "an archive of zeros": lambda: zlib.compress(b"PK\3\4" + bytes(3 << 20)),
    }[kind]()
    assert len(blob) < 1 << 17
    with pytest.raises(UnsearchableError, match="larger"):
        keys_of(blob)


def test_nothing_is_loaded(tmp_path):
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    assert int(KEY, 16) in keys_of(pickle.dumps([Evil(), URL]))
    assert not (tmp_path / "made").exists()


def test_a_record_names_its_options_but_neither_itself_nor_what_it_was_made_from():
    record = {
        "__cpr__": {
            "type": "NumpyTarget", "location": "/data", "name": "a", "ext": ".npy", "key": "1" * 16,
            "data_hash": "2" * 16, "metadata": {"mask": f"/data/mask-{KEY}.npy"},
            "made": {"inputs": {"image": f"NumpyTarget {'3' * 16} /data/image-{'4' * 16}.npy"}},
        }
    }  # fmt: skip
    assert keys_in_value([record]) == {int(KEY, 16)}


SERIALIZERS = {
    "json": JSONSerializer(),
    "pickle": PickleSerializer(),
    "dill": PickleSerializer(picklelib="pickle"),
    "compressed json": CompressedJSONSerializer(),
    "compressed pickle": CompressedPickleSerializer(),
    "gzip": CompressedPickleSerializer(compressionlib="gzip"),
    "zlib": CompressedJSONSerializer(compressionlib="zlib"),
    "bz2": CompressedPickleSerializer(compressionlib="bz2"),
}


@pytest.mark.parametrize("serializer", SERIALIZERS.values(), ids=SERIALIZERS)
@pytest.mark.parametrize("of_flow", [False, True])
@pytest.mark.parametrize("what", ["URL", "record"])
def test_results_of_prefect_keep_what_they_name(tmp_path, serializer, of_flow, what):
    done = store(str(tmp_path), ("small", "table"))
    io.remove(done.flow)
    io.remove(done.records["small"])
    target = done.targets["small"]
    value = {"path": target.url} if what == "URL" else [Path(target.url).relative_to("/"), target.serialize()]
    blob = serializer.dumps(value)
    put(f"{tmp_path}/records/{'f' * 32}", blob if of_flow else prefect_record(blob.decode(), serializer.type))
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            os.utime(os.path.join(folder, name), (1e9, 1e9))
    assert collect([str(tmp_path)]).marked == []
    io.remove(f"{tmp_path}/records/{'f' * 32}")
    assert [one.url for one in collect([str(tmp_path)]).marked] == [done.targets["small"].url]


def test_cprs_own_records_keep_what_they_name(tmp_path):
    """A task that returns where its result is, or its record, under cpr's serializer."""
    from cpr.Serializer import cpr_serializer

    for value in (lambda target: target.url, lambda target: {"target": target.serialize()}):
        done = store(str(tmp_path), ("small", "table"))
        io.remove(done.flow)
        text = cpr_serializer().dumps(value(done.targets["small"])).decode()
        put(done.records["small"], prefect_record(text))
        for folder, _, names in os.walk(tmp_path):
            for name in names:
                os.utime(os.path.join(folder, name), (1e9, 1e9))
        assert collect([str(tmp_path)]).marked == []
    assert cpr.load(done.targets["table"].serialize()).get_data() is not None


@pytest.mark.parametrize("serializer", ["pickle", "compressed/pickle", "json"])
def test_results_too_large_to_be_parsed_are_searched_block_by_block(tmp_path, monkeypatch, serializer):
    for module in ("records", "scan"):
        monkeypatch.setattr(f"cpr.operations.{module}.LARGEST_BYTES", 1 << 20)
    done = store(str(tmp_path), ("small",))
    value = {"noise": os.urandom(5 << 20).hex(), "url": done.targets["small"].url}
    text = {
        "pickle": PickleSerializer(),
        "compressed/pickle": CompressedPickleSerializer(compressionlib="gzip"),
        "json": JSONSerializer(),
    }[serializer].dumps(value)
    place = put(f"{tmp_path}/records/large", prefect_record(text.decode(), serializer))
    record = read_record(place)
    assert record.is_foreign
    assert len(record.blob) < record.nbytes
    assert int(done.targets["small"].key, 16) in _keys_named(record)
