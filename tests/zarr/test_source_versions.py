"""A source is one version from its cache key to its last byte, or SourceChangedError."""

from __future__ import annotations

import logging
import pickle
import sys
import uuid

import numpy as np
import pytest
import zarr

import cpr
from cpr import OMEZarrSource, ZarrSource
from cpr.errors import FormatError, SourceChangedError, TransferError
from cpr.io.stores.base import Stat
from cpr.zarr import inner_metadata
from cpr.zarr.stores import versioned_store

DATA = np.arange(4 * 30 * 30, dtype="uint16").reshape(4, 30, 30)


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def image(base: str) -> str:
    """An OME-Zarr that others wrote, as far as a source can tell."""
    target = cpr.OMEZarrTarget.from_path(
        f"{base}/image.ome.zarr", chunks=(1, 30, 30), levels=2, compressors=None
    )
    target.set_data(DATA)
    return target.persist().url


def put(url: str, data: bytes) -> None:
    with cpr.io.writing(url) as file:
        file.write(data)


def get(url: str) -> bytes:
    with cpr.io.reading(url) as file:
        return file.read()


def another(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 255])


CHANGES = {
    "a chunk is another one": lambda url: put(f"{url}/0/c/1/0/0", another(get(f"{url}/0/c/2/0/0"))),
    "a chunk of the same size": lambda url: put(f"{url}/0/c/1/0/0", another(get(f"{url}/0/c/1/0/0"))),
    "a chunk is gone": lambda url: cpr.io.remove(f"{url}/0/c/1/0/0"),
    "an array is another one": lambda url: put(f"{url}/0/zarr.json", get(f"{url}/0/zarr.json") + b" "),
    "an array is gone": lambda url: cpr.io.remove(f"{url}/0/zarr.json"),
    "the group is another one": lambda url: put(f"{url}/zarr.json", get(f"{url}/zarr.json") + b" "),
}
READS = {
    "all": (ZarrSource, "/0", lambda s: s.get_data()[...]),
    "region": (ZarrSource, "/0", lambda s: s.get_data(region=np.s_[1, :4, 0])),
    "dask": (ZarrSource, "/0", lambda s: s.get_dask().compute()),
    "group": (ZarrSource, "", lambda s: s.get_data()["0"][...]),
    "members": (ZarrSource, "", lambda s: [array[...] for _, array in s.get_data().arrays()]),
    "image": (OMEZarrSource, "", lambda s: s.get_data(level=0)[...]),
    "image's region": (OMEZarrSource, "", lambda s: s.get_data(region=np.s_[1])),
    "level": (OMEZarrSource, "", lambda s: s.levels()[0].data[...]),
    "level's dask": (OMEZarrSource, "", lambda s: s.levels()[0].get_dask().compute()),
}


def reader(name: str, url: str):
    """Reads a source that has taken part in a key."""
    kind, group, read = READS[name]
    source = keyed(kind, url + group)
    return lambda: read(source)


def keyed(kind, url: str, **options):
    source = kind.from_path(url, **options)
    source.identity()
    return source


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read", READS)
def test_a_change_between_key_and_read_raises(change, read, tmp_path):
    url = image(str(tmp_path))
    ask = reader(read, url)
    CHANGES[change](url)
    if change.startswith("the group") and READS[read][1]:
        ask()  # the array's own objects are as they were
        return
    with pytest.raises(SourceChangedError) as caught:
        ask()
    assert caught.value.url
    assert caught.value.expected != caught.value.actual
    assert "from_path" in caught.value.remedy


@pytest.mark.parametrize("change", ["a chunk of the same size", "a chunk is gone", "an array is another one"])
def test_on_every_store(base, change):
    url = image(base)
    before = cpr.hash_objects(OMEZarrSource.from_path(url))
    asks = [reader(name, url) for name in ("region", "dask", "image")]
    for ask in asks:
        ask()
    CHANGES[change](url)
    for ask in asks:
        with pytest.raises(SourceChangedError):
            ask()
    assert cpr.hash_objects(OMEZarrSource.from_path(url)) != before  # the remedy
    if "gone" not in change:
        keyed(OMEZarrSource, url).get_data(region=np.s_[:])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [ZarrSource, OMEZarrSource])
def test_any_change_below_changes_the_key(change, kind, tmp_path):
    url = image(str(tmp_path))
    before = cpr.hash_objects(kind.from_path(url))
    assert cpr.hash_objects(kind.from_path(url)) == before
    CHANGES[change](url)
    assert cpr.hash_objects(kind.from_path(url)) != before


def test_an_inner_array_that_was_replaced_changes_the_key_of_its_group(base):
    zarr.create_array(f"{base}/plate.zarr/A/1", data=DATA)
    zarr.open_group(f"{base}/plate.zarr", mode="a")
    before = cpr.hash_objects(ZarrSource.from_path(f"{base}/plate.zarr"))
    zarr.create_array(f"{base}/plate.zarr/A/1", data=DATA + 1, overwrite=True)
    assert cpr.hash_objects(ZarrSource.from_path(f"{base}/plate.zarr")) != before


def test_a_chunk_that_was_not_there_raises(tmp_path):
    place = str(tmp_path / "a.zarr")
    array = zarr.create_array(place, shape=(4, 4), chunks=(2, 2), dtype="uint8")
    array[:2] = 1
    source = keyed(ZarrSource, place)
    assert source.get_data()[...].sum() == 8
    array[2:] = 1
    with pytest.raises(SourceChangedError):
        source.get_data()[...]
    assert keyed(ZarrSource, place).get_data()[...].sum() == 16


def test_a_member_that_is_gone_raises(tmp_path):
    url = image(str(tmp_path))
    group = keyed(ZarrSource, url).get_data()
    assert {name for name, _ in group.members()} == {"0", "1"}
    for found in list(cpr.io.find(f"{url}/1/**")):
        cpr.io.remove(found)
    (tmp_path / url.rpartition("/")[2] / "1" / "zarr.json").unlink(missing_ok=True)
    with pytest.raises(SourceChangedError):
        group.members()


def test_what_is_sent_to_another_process_lists_again_there(tmp_path):
    url = image(str(tmp_path))
    sent = pickle.dumps([keyed(ZarrSource, f"{url}/0").get_data(), keyed(ZarrSource, f"{url}/0").get_dask()])
    versioned_store._listings.clear()
    array, lazy = pickle.loads(sent)
    assert np.array_equal(array[...], DATA)
    assert np.array_equal(lazy.compute(), DATA)
    assert len(sent) < 20_000
    versioned_store._listings.clear()
    array, lazy = pickle.loads(sent)
    CHANGES["a chunk of the same size"](url)
    with pytest.raises(SourceChangedError):
        array[0]
    with pytest.raises(SourceChangedError):
        lazy.compute()


def test_a_source_that_took_part_in_no_key_reads_what_is_there(tmp_path):
    url = image(str(tmp_path))
    source = ZarrSource.from_path(f"{url}/0")
    source.get_data()
    CHANGES["an array is another one"](url)
    assert np.array_equal(source.get_data()[...], DATA)


def test_metadata_alone_where_that_is_wanted(tmp_path):
    url = image(str(tmp_path))
    source = keyed(ZarrSource, f"{url}/0", version="metadata")
    before = cpr.hash_objects(source)
    put(f"{url}/0/c/1/0/0", get(f"{url}/0/c/2/0/0"))
    assert np.array_equal(source.get_data()[1], DATA[2])
    assert cpr.hash_objects(ZarrSource.from_path(f"{url}/0", version="metadata")) == before
    CHANGES["an array is another one"](url)
    with pytest.raises(SourceChangedError):
        source.get_data()
    assert cpr.hash_objects(ZarrSource.from_path(f"{url}/0", version="metadata")) != before
    assert cpr.load(source.serialize()).format.version == "metadata"


def nest(base: str, zarr_format: int) -> str:
    """A group with arrays in it, and in a group in it."""
    group = zarr.open_group(f"{base}/tree.zarr", mode="w", zarr_format=zarr_format)
    for path in ("a", "wells/A1/b", "wells/A2/b"):
        group.create_array(path, data=DATA, chunks=(1, 30, 30))
    return f"{base}/tree.zarr"


@pytest.mark.parametrize("inner", ["a", "wells/A2/b"])
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("is_consolidated", [False, True])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_metadata_of_a_group_are_those_of_all_it_has_inside(tmp_path, inner, zarr_format, is_consolidated):
    url = nest(str(tmp_path), zarr_format)
    if is_consolidated:
        zarr.consolidate_metadata(url, zarr_format=zarr_format)
    source = ZarrSource.from_path(url, version="metadata")
    before = cpr.hash_objects(source)
    assert cpr.hash_objects(ZarrSource.from_path(url, version="metadata")) == before
    zarr.open_group(url).create_array(inner, data=DATA[:2], chunks=(1, 30, 30), overwrite=True)
    assert cpr.hash_objects(ZarrSource.from_path(url, version="metadata")) != before
    if not is_consolidated:  # else nobody asks for the array's own metadata
        with pytest.raises(SourceChangedError):
            source.get_data()[inner]


def test_a_group_with_too_much_inside_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(inner_metadata, "MOST_INNER", 3)
    url = nest(str(tmp_path), 3)
    with caplog.at_level(logging.WARNING, "cpr"):
        cpr.hash_objects(ZarrSource.from_path(url, version="metadata"))
    assert "inside does not count" in caplog.text


def test_many_objects_are_not_listed_unless_that_is_wanted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(versioned_store, "MOST_LISTED", 5)
    url = image(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            source = keyed(ZarrSource, url)
    assert caplog.text.count("version='listing'") == 1
    assert "listing" not in source.version()
    CHANGES["a chunk of the same size"](url)
    source.get_data()["0"][...]
    listed = keyed(ZarrSource, url, version="listing")
    CHANGES["a chunk is another one"](url)
    with pytest.raises(SourceChangedError):
        listed.get_data()["0"][...]


def test_chunks_behind_links_are_listed_too(tmp_path):
    url = image(str(tmp_path / "far"))
    (tmp_path / "near.zarr").mkdir()
    for part in ("0", "1", "zarr.json"):
        (tmp_path / "near.zarr" / part).symlink_to(f"{url}/{part}")
    (tmp_path / "near.zarr" / "circle").symlink_to(tmp_path / "near.zarr")
    source = keyed(ZarrSource, str(tmp_path / "near.zarr"))
    assert np.array_equal(source.get_data()["0"][...], DATA)
    CHANGES["a chunk of the same size"](url)
    with pytest.raises(SourceChangedError):
        source.get_data()["0"][...]


def test_a_listing_and_a_question_give_one_version(base):
    """Else intact sources would be called changed."""
    url = image(base)
    for name in READS:
        for _ in range(3):
            reader(name, url)()


def test_no_such_version_is_refused():
    with pytest.raises(FormatError, match="listing"):
        ZarrSource.from_path("memory://x/a.zarr", version="chunks")


def test_a_store_that_answers_another_version_at_every_question(tmp_path, monkeypatch):
    url = image(str(tmp_path))
    asks = [reader(name, url) for name in READS]
    monkeypatch.setattr(cpr.io, "lookup", lambda _: Stat(1, {"etag": uuid.uuid4().hex}))
    for ask in asks:
        with pytest.raises(SourceChangedError):
            ask()


@pytest.mark.parametrize("how", ["refused", "empty", "other versions"])
def test_a_store_that_does_not_list(how, tmp_path, monkeypatch, caplog):
    """Web servers, and buckets that one may only read from."""
    url = image(str(tmp_path))
    versioned_store._listings.clear()
    if how == "refused":
        monkeypatch.setattr(versioned_store, "_files", lambda _: (_ for _ in ()).throw(PermissionError()))
    elif how == "empty":
        monkeypatch.setattr(versioned_store, "_files", lambda _: iter(()))
    else:
        files = versioned_store._files
        monkeypatch.setattr(
            versioned_store, "_files", lambda at: ((key, {"size": 0}) for key, _ in files(at))
        )
    with caplog.at_level(logging.WARNING):
        source = keyed(OMEZarrSource, url)
    assert "does not list" in caplog.text
    assert "listing" not in source.version()
    assert np.array_equal(source.get_data(region=np.s_[:]), DATA)
    with pytest.raises(TransferError) as caught:
        keyed(ZarrSource, url, version="listing")
    assert 'version="metadata"' in caught.value.remedy
    keyed(ZarrSource, url, version="metadata")
    CHANGES["the group is another one"](url)
    with pytest.raises(SourceChangedError):
        source.get_data()


_MULTISCALE = {
    "axes": [{"name": name, "type": "space"} for name in "zyx"],
    "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}],
}
LATER = DATA + 1000


def put_image(url: str, data: np.ndarray) -> None:
    """An image in place of the one that is there."""
    for found in list(cpr.io.find(f"{url}/**")):
        cpr.io.remove(found)
    group = zarr.open_group(
        url, mode="a", attributes={"ome": {"version": "0.5", "multiscales": [_MULTISCALE]}}
    )
    group.create_array("0", data=data, chunks=(1, 30, 30), compressors=None)


LAZY = {
    "array": (ZarrSource, "/0", lambda s: s.get_dask()),
    "group": (ZarrSource, "", lambda s: s.get_dask()),
    "image": (OMEZarrSource, "", lambda s: s.get_dask()),
    "level": (OMEZarrSource, "", lambda s: s.levels()[0].get_dask()),
    "held array": (ZarrSource, "/0", lambda s: (s.get_data(cache=True), s.identity(), s.get_data())[-1]),
    "held group": (OMEZarrSource, "", lambda s: (s.get_data(cache=True), s.get_dask())[-1]),
}


@pytest.mark.parametrize("count", range(4))
@pytest.mark.parametrize("lazy", LAZY)
def test_lazy_data_are_of_the_version_that_names_them(lazy, count, tmp_path, monkeypatch):
    """Whenever the image is replaced: before it is first looked at, or after any look."""
    url = f"{tmp_path}/image.ome.zarr"
    put_image(url, DATA)
    kind, group, read = LAZY[lazy]
    contents = {_version(kind.from_path(url + group)): DATA}
    looks = 0
    module = sys.modules[ZarrSource.__module__]

    def and_replace(look):
        def looked(*args, **kwargs):
            nonlocal looks
            found = look(*args, **kwargs)
            looks += 1
            if looks == count:
                put_image(url, LATER)
            return found

        return looked

    for name in ("open_node", "listing_version"):
        monkeypatch.setattr(module, name, and_replace(getattr(module, name)))
    if count == 0:
        put_image(url, LATER)
    source = kind.from_path(url + group)
    try:
        found = read(source)
        data = np.asarray(found[...])
    except SourceChangedError:
        assert 0 < count <= looks
        return
    monkeypatch.undo()
    contents.setdefault(_version(kind.from_path(url + group)), LATER)
    assert np.array_equal(data, contents[_version(source)])


def _version(source) -> str:
    return str(sorted(source.version().items()))


def test_lazy_data_that_may_be_written_to_have_another_name_once_they_were(tmp_path):
    url = f"{tmp_path}/image.ome.zarr"
    put_image(url, DATA)
    for source in (ZarrSource.from_path(f"{url}/0", mode="r+"), OMEZarrSource.from_path(url, mode="r+")):
        before = source.get_dask()
        assert source.get_dask().name == before.name
        put_image(url, LATER)
        assert source.get_dask().name != before.name
        put_image(url, DATA)


def test_planes_are_of_the_version_that_names_them_whatever_the_source_does_then(tmp_path):
    """A source that came in a pickle takes the version that is there when its next key is made."""
    target = cpr.ImageTarget.from_path(tmp_path / "a.tif")
    target.set_data(DATA)
    url = target.persist().url
    source = pickle.loads(pickle.dumps(keyed(cpr.ImageSource, url)))
    lazy = source.get_dask()
    later = cpr.ImageTarget.from_path(tmp_path / "b.tif")
    later.set_data(LATER)
    put(url, get(later.persist().url))
    cpr.hash_objects(source)
    assert np.array_equal(source.get_dask().compute(), LATER)
    with pytest.raises(SourceChangedError):
        lazy.compute()
