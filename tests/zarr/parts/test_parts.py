"""Parts make up what writing all data at once makes, its hash included."""

from __future__ import annotations

import pickle
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cpr
from cpr import io
from cpr.errors import CprError, EncodeError, FormatError, NoDataError, PartError, RecordError, UsageError
from cpr.io import write_markers

DATA = np.random.default_rng(0).integers(0, 2**16, (6, 50, 70), dtype="uint16")
ARRAYS = [
    {"chunks": (2, 20, 20)},
    {"chunks": (1, 5, 10), "shards": (2, 10, 20)},
    {"chunks": (2, 20, 20), "zarr_format": 2, "compressors": "blosc"},
]
IMAGES = [
    {"chunks": (1, 20, 20), "levels": 4},
    {"chunks": (1, 10, 10), "shards": (1, 20, 20), "levels": 3},
    {"chunks": (2, 20, 20), "levels": 3, "downscale": "ZYX"},
    {"chunks": (1, 20, 20), "levels": 3, "metadata": {"axes": "CYX"}, "downsample": "mode"},
]
SIZES = [(2,), (2, 20), (4, 20, 40)]


def base() -> str:
    return f"memory://{uuid.uuid4().hex}"


def at_once(cls, data, **options):
    target = cls.from_path(f"{base()}/cells{'.ome' * (cls is cpr.OMEZarrTarget)}.zarr", **options)
    target.set_data(data)
    return target.persist()


def whole_of(cls, data, where=None, **options):
    url = f"{where or base()}/cells{'.ome' * (cls is cpr.OMEZarrTarget)}.zarr"
    return cls.from_path(url, shape=data.shape, dtype=data.dtype, **options)


def parts_of(whole, data, size=None):
    """Each filled by a process that knows what was pickled, and loaded from its record."""
    found = []
    for region in whole.regions(size):
        part = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(whole)).part(region)))
        part.set_data(data[region])
        found.append(cpr.load(part.serialize()))
    return found


def everything(whole):
    return set(io.find(f"{whole.location}/**", hidden=True))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", ARRAYS, ids=str)
def test_an_array_in_parts_is_the_one_at_once(options, size):
    whole = whole_of(cpr.ZarrTarget, DATA, **options)
    parts = parts_of(whole, DATA, size)
    for part in parts:
        bounds = tuple(slice(*along) for along in part.region)
        assert np.array_equal(part.get_data()[...], DATA[bounds])
        assert np.array_equal(part.get_data(region=np.s_[-1, ::-2]), DATA[bounds][-1, ::-2])
    assert whole.assemble(reversed(parts)) is whole
    assert whole.data_hash == at_once(cpr.ZarrTarget, DATA, **options).data_hash
    again = cpr.load(whole.serialize())
    assert np.array_equal(again.get_data()[...], DATA)
    again.check()
    again.verify()
    assert not io.lookup(write_markers.marker_url(whole.url))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", IMAGES, ids=str)
def test_an_image_in_parts_is_the_one_at_once(options, size):
    whole = whole_of(cpr.OMEZarrTarget, DATA, **options)
    parts = parts_of(whole, DATA, size)
    whole.assemble(parts)
    once = at_once(cpr.OMEZarrTarget, DATA, **options)
    assert whole.data_hash == once.data_hash
    again = cpr.load(whole.serialize())
    again.verify()
    for level, other in zip(again.levels(), once.levels(), strict=True):
        assert np.array_equal(level.data[...], other.data[...])


@pytest.mark.slow
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 13), st.integers(1, 13)),
    chunks=st.tuples(st.integers(1, 3), st.integers(3, 7), st.integers(3, 7)),
    size=st.tuples(st.integers(1, 4), st.integers(4, 13), st.integers(4, 13)),
    downscale=st.sampled_from(["YX", "ZYX"]),
    dtype=st.sampled_from(["uint8", "int16", "float32", "bool"]),
)
def test_any_image_in_any_parts(data, shape, chunks, size, downscale, dtype):
    pixels = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-3, 4, shape).astype(dtype)
    options = {
        "chunks": chunks,
        "levels": 3,
        "downscale": downscale,
        "compressors": None,
        "metadata": {"axes": "ZYX"},
    }
    whole = whole_of(cpr.OMEZarrTarget, pixels, **options)
    whole.assemble(parts_of(whole, pixels, size))
    assert whole.data_hash == at_once(cpr.OMEZarrTarget, pixels, **options).data_hash


def test_axes_of_the_data_are_those_of_the_regions():
    data = np.random.default_rng(1).integers(0, 99, (4, 2, 50, 60), dtype="uint8")  # ZCYX, as ImageJ has it
    options = {"metadata": {"axes": "ZCYX", "unit": "micron"}, "resolution": (4, 4), "chunks": (1, 1, 50, 60)}
    whole = whole_of(cpr.OMEZarrTarget, data, **options)
    parts = [whole.part(np.s_[z, c]) for z in range(4) for c in range(2)]
    for number, part in enumerate(parts):
        part.set_data(data[number // 2, number % 2])
    assert parts[1].region == ((1, 2), (0, 1), (0, 50), (0, 60))
    whole.assemble(parts)
    once = at_once(cpr.OMEZarrTarget, data, **options)
    assert whole.data_hash == once.data_hash
    assert {**whole.identity(), "location": 0} == {**once.identity(), "location": 0}


class Lazy:
    """An array elsewhere."""

    chunks = (1, 70)
    shape, dtype = (50, 70), DATA.dtype

    def __getitem__(self, region):
        return DATA[3][region]


@pytest.mark.parametrize(
    "given_as",
    [
        lambda: DATA[3],
        lambda: DATA[3:4],
        lambda: DATA[3].astype(">u2"),
        lambda: pytest.importorskip("dask.array").from_array(DATA[3], chunks=(7, 70)),
        lambda: pytest.importorskip("dask.array").from_array(DATA[3:4], chunks=(1, 50, 9)),
        lambda: iter(DATA[3:4]),
        lambda: Lazy(),
        lambda: DATA[3].copy(order="F"),
    ],
    ids=["plane", "all axes", "byte order", "dask", "dask with all axes", "planes", "lazy", "Fortran order"],
)
@pytest.mark.parametrize("cls", [cpr.ZarrTarget, cpr.OMEZarrTarget])
def test_a_part_takes_what_a_whole_takes(cls, given_as):
    whole = whole_of(cls, DATA, chunks=(1, 20, 20))
    part = whole.part(3)
    part.set_data(given_as())
    assert np.array_equal(part.persist().get_data()[0], DATA[3])


def test_chunks_of_nothing_but_the_fill_value_are_not_stored():
    data = np.where(np.arange(6)[:, None, None] % 2, DATA, 0)
    whole = whole_of(cpr.ZarrTarget, data, chunks=(1, 50, 70))
    whole.assemble(parts_of(whole, data, (2,)))
    assert whole.data_hash == at_once(cpr.ZarrTarget, data, chunks=(1, 50, 70)).data_hash
    assert len(io.find(f"{whole.url}/c/**")) == 3


@pytest.mark.parametrize("options", IMAGES, ids=str)
def test_a_gap_that_is_meant_holds_the_fill_value(options):
    data = DATA.copy()
    data[:, 20:, 40:] = 0
    data[2:4] = 0
    whole = whole_of(cpr.OMEZarrTarget, data, **options)
    regions = [region for region in whole.regions((2, 20, 20)) if data[region].any()]
    parts = [whole.part(region) for region in regions]
    for part, region in zip(parts, regions, strict=True):
        part.set_data(data[region])
    whole.assemble(parts, fill=True)
    assert whole.data_hash == at_once(cpr.OMEZarrTarget, data, **options).data_hash
    nothing = whole_of(cpr.ZarrTarget, data, chunks=(2, 20, 20)).assemble([], fill=True)
    assert not nothing.get_data()[...].any()
    nothing.verify()


def test_a_part_is_written_again_until_the_whole_is_there():
    whole = whole_of(cpr.ZarrTarget, DATA, chunks=(1, 50, 70))
    first, second = whole.part(np.s_[:3]), whole.part(np.s_[3:])
    first.set_data(DATA[3:])
    first.persist()
    first.set_data(np.zeros((3, 50, 70), "uint16"))
    first.set_data(DATA[:3])
    second.set_data(DATA[3:])
    whole.assemble([first, second])
    assert np.array_equal(whole.get_data()[...], DATA)
    for part in (first, whole.part(np.s_[:1])):
        with pytest.raises(RecordError, match="assembled already"):
            part.set_data(DATA[: part.region[0][1]])
    whole.verify()


def test_what_a_killed_writer_of_a_part_has_left_is_removed():
    whole = whole_of(cpr.ZarrTarget, DATA, chunks=(1, 50, 70))
    killed = whole.part(np.s_[:3])
    killed.set_data(DATA[:3])  # and never published
    data = DATA.copy()
    data[1] = 0
    whole.assemble(parts_of(whole, data, (3,)))
    whole.verify()
    assert np.array_equal(whole.get_data()[...], data)


@pytest.mark.parametrize("cls", [cpr.ZarrTarget, cpr.OMEZarrTarget])
def test_parts_of_an_earlier_run(cls):
    """All from a cache: the whole that is there. Some written anew: the others are copied beside them."""
    where = base()
    whole = whole_of(cls, DATA, where, chunks=(2, 20, 20))
    parts = parts_of(whole, DATA, (2, 20))
    whole.assemble(parts)
    before = everything(whole)
    same = whole_of(cls, DATA, where, chunks=(2, 20, 20)).assemble([cpr.load(p.serialize()) for p in parts])
    assert same.serialize() == whole.serialize()
    assert everything(whole) == before
    changed = DATA.copy()
    changed[2:4, 20:40] += 1
    other = whole_of(cls, DATA, where, chunks=(2, 20, 20))
    (number,) = (n for n, part in enumerate(parts) if part.region[:2] == ((2, 4), (20, 40)))
    new = other.part(np.s_[2:4, 20:40])
    new.set_data(changed[2:4, 20:40])
    other.assemble([*parts[:number], new, *parts[number + 1 :]])
    assert other.url != whole.url
    assert other.data_hash == at_once(cls, changed, chunks=(2, 20, 20)).data_hash
    # Each stays whole without the other.
    io.objects.remove_folder(whole.url)
    other.verify()


def test_an_assembly_that_was_killed_is_done_again(monkeypatch):
    whole = whole_of(cpr.OMEZarrTarget, DATA, chunks=(2, 20, 20), levels=3)
    parts = parts_of(whole, DATA, (2, 20, 20))

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("cpr.zarr.parts.target_in_parts.put_blocks", killed)
    with pytest.raises(KeyboardInterrupt):
        whole.assemble(parts)
    monkeypatch.undo()
    assert whole.checksum is None
    whole.assemble(parts)
    whole.verify()
    assert whole.data_hash == at_once(cpr.OMEZarrTarget, DATA, chunks=(2, 20, 20), levels=3).data_hash


def test_two_assemblies_at_once_are_one(monkeypatch):
    """The second publishes between the first's manifest and its look at the marker."""
    whole = whole_of(cpr.ZarrTarget, DATA, chunks=(2, 20, 20))
    parts = parts_of(whole, DATA, (2,))
    twin = pickle.loads(pickle.dumps(whole))
    publish = type(whole)._publish

    def late(self, manifest, layout):
        monkeypatch.undo()
        twin.assemble(parts)
        publish(self, manifest, layout)

    monkeypatch.setattr(type(whole), "_publish", late)
    whole.assemble(parts)
    assert whole.serialize() == twin.serialize()
    cpr.load(whole.serialize()).verify()


def test_a_part_is_a_target_like_any():
    whole = whole_of(cpr.ZarrTarget, DATA, chunks=(2, 20, 20))
    empty = whole.part(np.s_[2:4])
    for act in (empty.persist, empty.get_data, empty.check, empty.identity):
        with pytest.raises(NoDataError):
            act()
    empty.set_data(DATA[2:4])
    part = cpr.load(empty.serialize())
    assert part.identity() == empty.identity()
    other = whole_of(cpr.ZarrTarget, DATA, whole.location, chunks=(2, 20, 20)).part(np.s_[2:4])
    other.set_data(DATA[2:4])
    assert other.identity() == part.identity()  # a key does not tell who wrote it
    assert other.url != part.url
    part.check()
    part.check(full=True)
    assert np.array_equal(part.get_dask().compute(), DATA[2:4])
    copied = part.copy_to(f"{base()}/elsewhere")
    copied.check(full=True)
    assert np.array_equal(copied.get_data()[...], DATA[2:4])
    with pytest.raises(UsageError):
        cpr.ZarrPart.from_path("memory://x/a.zarr")
    with pytest.raises(NoDataError, match="written no more"):
        part.set_data(DATA[2:4])


def test_what_is_not_declared_or_does_not_fit():
    with pytest.raises(EncodeError, match="declared beforehand"):
        cpr.ZarrTarget.from_path("memory://x/a.zarr").part(np.s_[:1])
    whole = whole_of(cpr.ZarrTarget, DATA, chunks=(2, 20, 20))
    for region in (np.s_[::2], np.s_[3:3], np.s_[9], "all", np.s_[0:2, 0, 0, 0]):
        with pytest.raises(FormatError):
            whole.part(region)
    part = whole.part(np.s_[:2])
    for data in (DATA[:3], DATA[:2].astype("uint8"), iter(DATA[:1]), DATA[0]):
        with pytest.raises(EncodeError):
            part.set_data(data)
    assert not io.find(f"{whole.location}/**/c/**", hidden=True)
    with pytest.raises(EncodeError, match="declared"):
        whole.set_data(DATA[:2])
    for options in ({"shape": (3, "x"), "dtype": "u1"}, {"shape": (3,), "dtype": "no such"}):
        with pytest.raises(FormatError):
            cpr.ZarrTarget.from_path("memory://x/a.zarr", **options)
    whole.set_data(iter(DATA))
    assert np.array_equal(whole.persist().get_data()[...], DATA)


@pytest.mark.parametrize("region", [np.s_[0:1], np.s_[1:4], np.s_[0:2, 0:30], np.s_[0:2, :, 21:40], 3])
def test_a_region_that_cuts_a_chunk_is_refused_before_anything_is_computed(region):
    whole = whole_of(cpr.ZarrTarget, DATA, chunks=(2, 20, 20))
    with pytest.raises(PartError, match=r"multiples of \d+ .*; found \d+, inside the chunk"):
        whole.part(region)
    assert issubclass(PartError, CprError)


def test_the_whole_is_the_same_from_any_process():
    whole = whole_of(cpr.ZarrTarget, DATA, chunks=(2, 20, 20))
    twins = [pickle.loads(pickle.dumps(whole)), pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(whole))))]
    urls = set()
    for number, one in enumerate([whole, *twins]):
        part = one.part(np.s_[2 * number : 2 * number + 2])
        part.set_data(DATA[2 * number : 2 * number + 2])
        urls.add(part.url)
    assert len(urls) == 1
