"""Metadata and chunks that a stranger wrote: nothing but what is listed is run, and every error is typed."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import random
import sys
import threading
import time
import warnings
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr

import cpr
from cpr import OMEZarrSource, ZarrSource, ZarrTarget
from cpr.errors import CprError, DecodeError, EncodeError
from cpr.io.block_digests import blocks_url
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.manifest_entries import make_entry
from cpr.zarr.stores.metadata_check import allowed_codecs
from tests.faults.untrusted_records import is_of_another

EVIL_CODECS = [
    {"id": "pickle", "protocol": 5},
    {"id": "json2"},
    {"id": "msgpack2"},
    {"id": "categorize", "labels": ["a"], "dtype": "|O"},
    {"id": "vlen-array", "dtype": "<i4"},
    {"id": "imagecodecs_jpeg"},
    {"id": "os.system"},
    {"id": None},
    {"id": ["zstd"]},
    {},
    {"id": "astype", "encode_dtype": "|O", "decode_dtype": "<i4"},
    {"id": "delta", "dtype": "|O"},
    {"id": "quantize", "digits": 2, "dtype": [["a", "|O"]]},
]
EVIL_DTYPES = ["|O", "O", "object", [["a", "|O"]], [["a", [["b", "|O"]]]], "V", None, 7, "<f16", [], [["a"]]]
V2 = {
    "zarr_format": 2,
    "shape": [4],
    "chunks": [4],
    "dtype": "|u1",
    "compressor": {"id": "zlib", "level": 1},
    "filters": None,
    "fill_value": 0,
    "order": "C",
}


class Executed:
    """What a pickle in a chunk would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def result_of(tmp_path: Path, change) -> ZarrTarget:
    """A result whose objects were replaced by someone who can write the record as well."""
    target = ZarrTarget.from_path(tmp_path / "cell.zarr", zarr_format=2)
    target.set_data(np.arange(4, dtype="uint8"))
    record = target.serialize()
    root = Path(target.url)
    change(root)
    entries = {
        str(path.relative_to(root)): make_entry(memoryview(path.read_bytes()), "xxh3_128", False)
        for path in root.rglob("*")
        if path.is_file()
    }
    manifest = Manifest.of(target.url, entries, "xxh3_128")
    Path(blocks_url(target.url)).write_bytes(manifest.data)
    fields = record["__cpr__"]
    fields["checksum"] = fields["content_digest"] = manifest.checksum
    fields["manifest"], fields["data_hash"] = manifest.nbytes, manifest.data_hash
    fields["nbytes"] = manifest.total + manifest.nbytes
    return cpr.load(record)


def put_v2(root: Path, **changes) -> None:
    (root / ".zarray").write_text(json.dumps(V2 | changes))


@pytest.mark.parametrize("codec", EVIL_CODECS, ids=str)
@pytest.mark.parametrize("place", ["compressor", "filters"])
@pytest.mark.parametrize("added", ["", "pickle,imagecodecs"])
def test_codecs_that_are_not_listed_are_never_looked_up(codec, place, added, tmp_path, monkeypatch):
    monkeypatch.setenv("CPR_ZARR_CODECS", added)
    monkeypatch.setattr(numcodecs.registry, "get_codec", lambda *_: pytest.fail("a codec was made"))
    sentinel = tmp_path / "executed"

    def change(root):
        put_v2(root, **{place: [codec] if place == "filters" else codec})
        (root / "0").write_bytes(pickle.dumps(Executed(sentinel)))

    result = result_of(tmp_path, change)
    for read in (
        lambda: result.get_data()[...],
        lambda: result.get_data(region=np.s_[:]),
        result.preview,
        result.get_dask,
        lambda: ZarrSource.from_path(result.url).get_data()[...],
    ):
        with pytest.raises(DecodeError) as caught:
            read()
        assert caught.value.url
        assert caught.value.field.startswith(place)
        assert caught.value.remedy
    result.verify()  # decodes nothing
    assert not sentinel.exists()


@pytest.mark.parametrize("dtype", EVIL_DTYPES, ids=str)
@pytest.mark.parametrize("filters", [None, [{"id": "vlen-utf8"}], [{"id": "delta", "dtype": "<i4"}]], ids=str)
def test_dtypes_that_are_not_listed(dtype, filters, tmp_path):
    result = result_of(tmp_path, lambda root: put_v2(root, dtype=dtype, filters=filters))
    with pytest.raises(DecodeError):
        result.get_data()


def v3(tmp_path: Path, **changes) -> ZarrSource:
    group = zarr.create_group(str(tmp_path / "group.zarr"))
    group.create_array("x", shape=(4,), chunks=(2,), dtype="uint8", compressors=None)[...] = range(4)
    path = tmp_path / "group.zarr" / "x" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return ZarrSource.from_path(tmp_path / "group.zarr")


@pytest.mark.parametrize(
    "changes",
    [
        {"codecs": [{"name": "numcodecs.pickle"}]},
        {"codecs": [{"name": "bytes"}, {"name": "numcodecs.zfpy"}]},
        {"codecs": ["pickle"]},
        {
            "codecs": [
                {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}
            ]
        },
        {"codecs": [{"name": "sharding_indexed", "configuration": {"index_codecs": [{"name": "evil"}]}}]},
        {
            "codecs": [
                {"name": "numcodecs.astype", "configuration": {"decode_dtype": "|O", "encode_dtype": "u1"}}
            ]
        },
        {"codecs": "bytes"},
        {"codecs": None},
        {"data_type": "object"},
        {"data_type": {"name": "evil.plugin", "configuration": {}}},
        {"data_type": {"name": "structured", "configuration": {"fields": [["a", "object"]]}}},
        {"data_type": {"name": "structured", "configuration": {"fields": 7}}},
        {"chunk_key_encoding": {"name": "evil"}},
        {"chunk_grid": {"name": "evil", "configuration": {"chunk_shape": [2]}}},
        {"storage_transformers": [{"name": "evil"}]},
    ],
    ids=str,
)
def test_what_version_3_may_not_name(changes, tmp_path):
    source = v3(tmp_path, **changes)
    group = source.get_data()
    for read in (
        lambda: group["x"],
        group.members,
        lambda: list(group.arrays()),
        lambda: group.get("x"),
        lambda: ZarrSource.from_path(f"{source.url}/x").get_data(),
    ):
        with pytest.raises(DecodeError) as caught:
            read()
        assert caught.value.remedy


def _sharding(*codecs):
    return {"name": "sharding_indexed", "configuration": {"chunk_shape": [2], "codecs": [*codecs]}}


def _in_each_other(depth: int):
    """Each holds two of the next: two to the power of the depth."""
    codec = {"name": "bytes"}
    for _ in range(depth):
        codec = _sharding(codec, codec)
    return codec


MANY = {
    "codecs in a row": (3, {"codecs": [{"name": "bytes"}, *[{"name": "crc32c"}] * 50_000]}),
    "codecs in others": (3, {"codecs": [_sharding({"name": "bytes"}, *[{"name": "crc32c"}] * 100)]}),
    "codecs in codecs in codecs": (3, {"codecs": [_in_each_other(6)]}),
    "codecs of an index": (
        3,
        {
            "codecs": [
                {"name": "sharding_indexed", "configuration": {"index_codecs": [{"name": "crc32c"}] * 99}}
            ]
        },
    ),
    "filters": (2, {"filters": [{"id": "delta", "dtype": "|u1"}] * 50_000}),
    "fields": (2, {"dtype": [[f"f{i}", "|u1"] for i in range(100_000)]}),
    "fields of a field": (2, {"dtype": [["a", [[f"f{i}", "|u1"] for i in range(100_000)]]]}),
    "fields of version 3": (
        3,
        {
            "data_type": {
                "name": "structured",
                "configuration": {"fields": [[f"f{i}", "uint8"] for i in range(100_000)]},
            }
        },
    ),
}


@pytest.mark.parametrize(("zarr_format", "changes"), MANY.values(), ids=MANY)
def test_more_codecs_and_fields_than_any_array_has_are_refused(zarr_format, changes, tmp_path):
    if zarr_format == 3:
        source = ZarrSource.from_path(f"{v3(tmp_path, **changes).url}/x")
    else:
        put_v2(tmp_path, **changes)
        source = ZarrSource.from_path(tmp_path)
    with pytest.raises(DecodeError, match="in the metadata of a Zarr"):
        source.get_data()


@pytest.mark.parametrize("where", range(3))
@pytest.mark.parametrize("extent", [2**28, 2**60])
def test_an_array_without_elements_may_be_of_any_length(where, extent, tmp_path):
    shape = [5] * 3
    shape[where], shape[where - 1] = 0, extent
    put_v2(tmp_path, shape=shape, chunks=[1, 1, 1])
    source = ZarrSource.from_path(tmp_path)
    assert source.get_data().shape == tuple(shape)
    assert source.get_data(region=np.s_[:]).size == 0
    with pytest.raises(DecodeError, match="too many chunks for a task graph"):
        source.get_dask()


def test_an_array_without_axes_or_elements_has_a_graph(tmp_path):
    for shape in ([], [0], [0, 4], [4, 0]):
        put_v2(tmp_path, shape=shape, chunks=[1] * len(shape))
        assert ZarrSource.from_path(tmp_path).get_dask().shape == tuple(shape)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_are_checked_as_well(zarr_format, tmp_path):
    place = tmp_path / "group.zarr"
    group = zarr.create_group(str(place), zarr_format=zarr_format)
    group.create_array("x", shape=(4,), dtype="uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(place))
    path = place / ("zarr.json" if zarr_format == 3 else ".zmetadata")
    document = json.loads(path.read_text())
    if zarr_format == 3:
        document["consolidated_metadata"]["metadata"]["x"]["codecs"] = [{"name": "numcodecs.pickle"}]
    else:
        document["metadata"]["x/.zarray"]["compressor"] = {"id": "pickle"}
    path.write_text(json.dumps(document))
    with pytest.raises(DecodeError, match="executes what it decodes"):
        ZarrSource.from_path(place).get_data()["x"]


class OfOnesOwn(numcodecs.Zlib):
    codec_id = "of-ones-own"


def test_the_remedy_for_a_codec_that_is_not_listed_works(tmp_path, monkeypatch):
    numcodecs.register_codec(OfOnesOwn)
    place = tmp_path / "a.zarr"
    array = zarr.create_array(str(place), shape=(2,), dtype="u1", zarr_format=2, compressors=OfOnesOwn())
    array[...] = [1, 2]
    source = ZarrSource.from_path(place)
    with pytest.raises(DecodeError) as caught:
        source.get_data()
    name, _, value = caught.value.remedy.split(" ")[0].partition("=")
    monkeypatch.setenv(name, value)
    assert list(source.get_data()[...]) == [1, 2]


def test_text_in_objects_where_it_was_allowed(tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(2,), dtype=str, zarr_format=2)
        array[...] = np.array(["one", "two"])
    source = ZarrSource.from_path(tmp_path / "a.zarr")
    with pytest.raises(DecodeError, match="CPR_ZARR_CODECS=vlen-utf8"):
        source.get_data()
    monkeypatch.setenv("CPR_ZARR_CODECS", "vlen-utf8")
    assert list(source.get_data()[...]) == ["one", "two"]


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    target = ZarrTarget.from_path(tmp_path / "a.zarr", zarr_format=2, compressors=numcodecs.JSON())
    with pytest.raises(EncodeError, match="CPR_ZARR_CODECS"):
        target.set_data(np.arange(3))
    group = ZarrTarget.from_path(tmp_path / "b.zarr").create()
    monkeypatch.setattr("cpr.zarr.stores.metadata_check._CODECS", {2: frozenset(), 3: frozenset({"bytes"})})
    with pytest.raises(EncodeError):
        group.create_array("x", shape=(3,), dtype="uint8")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_codec_that_is_listed_and_there_can_be_made(zarr_format):
    from zarr.registry import get_codec_class

    for name in allowed_codecs(zarr_format) - {"endian"}:
        if zarr_format == 2:
            assert name in numcodecs.registry.codec_registry
        else:
            assert get_codec_class(name)


@pytest.mark.parametrize("extent", [0, 1, 2**40, 2**62])
@pytest.mark.parametrize("chunk", [0, 1, 2**40, 2**62])
@pytest.mark.parametrize("ndim", [1, 3, 32])
def test_shapes_of_any_size_are_answered_at_once(extent, chunk, ndim, tmp_path):
    put_v2(tmp_path, shape=[extent] * ndim, chunks=[chunk] * ndim)
    source = ZarrSource.from_path(tmp_path)
    begin = time.monotonic()
    for ask in (
        lambda: repr(source.get_data()),
        source.preview,
        source.get_dask,
        lambda: source.get_data(region=(0,) * ndim),
        lambda: source.get_data(region=np.s_[:]),
        source.identity,
        source._repr_html_,
    ):
        with contextlib.suppress(CprError):
            ask()
    assert time.monotonic() - begin < 60  # what depends on an extent would take days


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"zarr_format": 2, "a": ' + b"[" * 500 + b"]" * 500 + b"}",
        b"\xff\xfe",
        b"7",
        b"null",
        b'{"zarr_format": 1e999}',
        b'{"a": [' + b"[]," * 3_000_000 + b"[]]}",
        b'{"zarr_format": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda text: repr(text[:20]),
)
@pytest.mark.parametrize("name", [".zarray", ".zgroup", "zarr.json"])
def test_documents_that_are_none(text, name, tmp_path):
    (tmp_path / name).write_bytes(text)
    for kind in (ZarrSource, OMEZarrSource):
        with pytest.raises(CprError):
            kind.from_path(tmp_path).get_data()


@pytest.mark.parametrize(
    "compressor", [{"id": name} for name in ("zlib", "bz2", "lzma", "gzip", "lz4", "zstd", "blosc")]
)
@pytest.mark.parametrize("chunk", [b"", b"\0", b"\xff" * 40, b"\x02\x01\x01\x01" + b"\xff" * 28], ids=repr)
def test_what_a_decoder_says_of_a_broken_chunk_is_a_decode_error(compressor, chunk, tmp_path):
    put_v2(tmp_path, compressor=compressor)
    (tmp_path / "0").write_bytes(chunk)
    source = ZarrSource.from_path(tmp_path)
    lazy = source.get_data()
    dask_array = source.get_dask()
    twin = pickle.loads(pickle.dumps(lazy))
    for read in (
        lambda: lazy[...],
        lambda: lazy[1],
        lambda: lazy.oindex[[1]],
        lambda: np.asarray(lazy),
        lambda: twin[...],
        dask_array.compute,
        lambda: source.get_data(region=np.s_[:]),
        source.preview,
    ):
        with pytest.raises(DecodeError):
            read()


VALUES = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**64, 1e308, "", "|O", "<f8", "pickle", "zstd", "../..", "\0", [],
    {}, [[]], {"id": "pickle"}, {"name": "numcodecs.pickle"}, "A" * 300, [0], [2**40], {"name": "structured"},
    "NaN", "0x00", "string", "os", ["bytes"], {"id": "blosc", "cname": "x"},
]  # fmt: skip


def mutated(document, chance: random.Random):
    """The document with one to three values elsewhere, missing, or replaced."""
    document = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(document))
        if not places:
            break
        container, key = chance.choice(places)
        match chance.randrange(5):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[chance.choice(["id", "name", "codecs", "dtype", "data_type", "x"])] = container.pop(
                    key
                )
            case 2:
                other, at = chance.choice(places)
                with contextlib.suppress(LookupError):
                    container[key] = copy.deepcopy(other[at])
            case _:
                container[key] = copy.deepcopy(chance.choice(VALUES))
    return document


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


def seeds(tmp_path: Path):
    """Hierarchies that others write: of both versions, sharded, filtered, structured, text, images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, options in enumerate(
            [
                {"zarr_format": 2, "compressors": numcodecs.Zlib(), "filters": [numcodecs.Delta("<u2")]},
                {"zarr_format": 2, "compressors": numcodecs.Blosc()},
                {"zarr_format": 3},
                {"zarr_format": 3, "shards": (4, 4)},
            ]
        ):
            place = tmp_path / f"seed{number}.zarr"
            array = zarr.create_array(str(place), shape=(4, 6), chunks=(2, 2), dtype="<u2", **options)
            array[...] = np.arange(24).reshape(4, 6)
            yield place, place / (".zarray" if options["zarr_format"] == 2 else "zarr.json")
        for number, dtype in enumerate([str, [("a", "u1"), ("b", "<f4")], "M8[ns]"]):
            place = tmp_path / f"typed{number}.zarr"
            zarr.create_array(str(place), shape=(3,), dtype=dtype)
            yield place, place / "zarr.json"
    image = cpr.OMEZarrTarget.from_path(tmp_path / "image.ome.zarr", levels=2)
    image.set_data(np.ones((2, 30, 30), "uint8"))
    image.add_labels("cells", np.ones((2, 30, 30), "uint8"), colors={1: "red"})
    place = Path(image.persist().url)
    Path(blocks_url(str(place))).unlink()
    yield place, place / "zarr.json"
    yield place, place / "0" / "zarr.json"
    yield place, place / "labels" / "zarr.json"
    yield place, place / "labels" / "cells" / "zarr.json"


class Audit:
    """What Python is asked to do while the metadata are read."""

    def __init__(self) -> None:
        self.on = False
        self.watching = threading.get_ident()
        self.inside = ""
        self.found: list[str] = []

    def __call__(self, event: str, args: tuple) -> None:
        if not self.on or is_of_another(self.watching):
            return
        bad = event in {
            "os.system",
            "subprocess.Popen",
            "os.exec",
            "os.posix_spawn",
            "socket.connect",
            "exec",
        }
        if event == "open" and isinstance(args[0], str):
            bad = not args[0].startswith((self.inside, sys.prefix, sys.base_prefix, "/proc", "/sys"))
        if event == "import":
            bad = args[0].split(".")[0] not in ALLOWED
        if event == "pickle.find_class":
            bad = True
        if bad:
            self.found.append(f"{event} {args!r:.200}")


ALLOWED = {"cpr", "zarr", "numcodecs", "numpy", "google_crc32c", "crc32c", *sys.stdlib_module_names}
AUDIT = Audit()
sys.addaudithook(AUDIT)


@pytest.mark.own_process
@pytest.mark.parametrize("seed", range(4))
def test_mutated_metadata_run_nothing_and_raise_typed_errors(seed, tmp_path):
    """3,000 of them, a quarter for each seed."""
    read, refused = _count_outcomes(seed, 750, tmp_path)
    assert read > 20
    assert refused > 200


@pytest.mark.own_process
@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_two_hundred_thousand_mutated_metadata(seed, tmp_path):
    read, refused = _count_outcomes(seed, 10_000, tmp_path)
    print(f"seed {seed}: {read} read, {refused} refused")
    assert min(read, refused) > 250


def _count_outcomes(seed: int, count: int, tmp_path: Path) -> tuple[int, int]:
    chance = random.Random(seed)
    hierarchies = list(seeds(tmp_path))
    for place, _ in hierarchies:  # whatever is imported on the first read
        _read_all(place)
    AUDIT.inside, AUDIT.found, AUDIT.watching = str(tmp_path), [], threading.get_ident()
    read = refused = 0
    for number in range(count):
        place, document = hierarchies[number % len(hierarchies)]
        before = document.read_bytes()
        document.write_text(json.dumps(mutated(json.loads(before), chance)))
        AUDIT.on = True
        begin = time.monotonic()
        try:
            _read_all(place)
            read += 1
        except CprError:
            refused += 1
        except BaseException as error:
            pytest.fail(f"{type(error).__name__}: {error} for {document.read_text()}")
        finally:
            AUDIT.on = False
        assert time.monotonic() - begin < 10
        document.write_bytes(before)
    assert AUDIT.found == []
    return read, refused


MOST = 1 << 24  # bytes: what is larger is no array to read whole


def _read_all(place: Path) -> None:
    source = ZarrSource.from_path(place)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        node = source.get_data()
        source.preview()
        if isinstance(node, zarr.Array):
            if node.nbytes < MOST:
                node[...]
            source.get_data(region=(slice(0, 1),) * node.ndim)
            return
        image = OMEZarrSource.from_path(place)
        image.get_metadata()
        for level in image.levels():
            level.data[...] if level.data.nbytes < MOST else level.data[:1, :1, :1]
        for labels in image.labels().values():
            labels.levels[0].data[:1, :1, :1]
