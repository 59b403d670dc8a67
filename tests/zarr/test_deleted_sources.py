"""A source that is deleted while it is read is told to be gone; it never reads as if it had been empty."""

from __future__ import annotations

import pickle
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr

from cpr import OMEZarrSource, ZarrSource, io
from cpr.errors import DecodeError, ResourceNotFoundError, SourceChangedError
from cpr.io.objects import open_store
from cpr.zarr.stores.url_store import UrlStore
from tests.stored_flow import get, put

DATA = np.arange(1, 49, dtype="uint16").reshape(4, 12)
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_MOST_REQUESTS = 200


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def _array(url: str, **options: Any) -> None:
    zarr.create_array(url, shape=DATA.shape, dtype=DATA.dtype, overwrite=True, **options)[...] = DATA


def _group(url: str, format: int) -> zarr.Group:
    group = zarr.open_group(url, mode="w", zarr_format=format)
    for name in "01":
        group.create_array(name, shape=DATA.shape, chunks=(1, 12), dtype=DATA.dtype)[...] = DATA
    return group


#: What others have written, and the array in it.
KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "array of format 2": ("", lambda url: _array(url, chunks=(1, 12), zarr_format=2)),
    "array of format 3": ("", lambda url: _array(url, chunks=(1, 12), zarr_format=3)),
    "shards": ("", lambda url: _array(url, shards=(2, 12), chunks=(1, 6), zarr_format=3)),
    "group of format 2": ("0", lambda url: _group(url, 2)),
    "group of format 3": ("0", lambda url: _group(url, 3)),
}


class Zarr:
    """A Zarr that others wrote, of which objects go before some request of the next reader."""

    def __init__(self, base: str, kind: str) -> None:
        self.url = f"{base}/{uuid.uuid4().hex}.zarr"
        self.array, make = KINDS[kind]
        local = zarr.storage.MemoryStore()
        make(local)
        self.objects = {key: value.to_bytes() for key, value in local._store_dict.items()}
        self._before = -1
        self.asked = 0
        self.gone: set[str] = set()
        self.restore(self.objects)

    def restore(self, keys: Any) -> None:
        """Put objects where they were."""
        for key in keys:
            put(f"{self.url}/{key}", self.objects[key])

    def delete_before(self, request: int, keys: set[str]) -> None:
        """Have objects deleted just before the request with this number, from 0."""
        self._before, self.gone, self.asked = request, keys, 0

    def ask(self) -> None:
        """To be called before each request."""
        if self.asked == self._before:
            for key in self.gone:
                io.remove(f"{self.url}/{key}")
        self.asked += 1


@pytest.fixture
def requests(monkeypatch):
    """What is called before each request of our store for Zarrs."""
    hooks: list[Callable[[], None]] = []

    def before(name: str) -> None:
        method = getattr(UrlStore, name)

        def listing(self: Any, *args: Any) -> Any:
            async def told() -> Any:
                for hook in hooks:
                    hook()
                async for key in method(self, *args):
                    yield key

            return told()

        async def asking(self: Any, *args: Any, **options: Any) -> Any:
            for hook in hooks:
                hook()
            return await method(self, *args, **options)

        monkeypatch.setattr(UrlStore, name, listing if name.startswith("list") else asking)

    for name in ("_answer", "exists", "list_dir", "list_prefix"):
        before(name)
    return hooks


def _is_metadata(key: str) -> bool:
    return key.rpartition("/")[2] in _METADATA


DELETED: dict[str, Callable[[Zarr], set[str]]] = {
    "everything": lambda zarr: set(zarr.objects),
    "the array's metadata": lambda zarr: {
        key
        for key in zarr.objects
        if _is_metadata(key) and key.rpartition("/")[0] == zarr.array and not key.endswith("attrs")
    },
    "all chunks": lambda zarr: {key for key in zarr.objects if not _is_metadata(key)},
    "a chunk": lambda zarr: {sorted(key for key in zarr.objects if not _is_metadata(key))[1]},
}
#: Of the array by its name, and of the group in which it is.
READS: dict[str, tuple[bool, Callable[[ZarrSource], Any]]] = {
    "all": (True, lambda source: source.get_data()[...]),
    "a region": (True, lambda source: source.get_data(region=np.s_[0:4])),
    "one by one": (True, lambda source: np.stack(list(source.get_data()))),
    "dask": (True, lambda source: source.get_dask().compute(scheduler="sync")),
    "from a pickle": (True, lambda source: pickle.loads(pickle.dumps(source.get_data()))[...]),
    "members": (False, lambda source: dict(_as_group(source).members())["1"][...]),
    "arrays": (False, lambda source: dict(_as_group(source).arrays())["1"][...]),
    "keys": (False, lambda source: DATA if sorted(_as_group(source)) == ["0", "1"] else None),
    "how many": (False, lambda source: DATA if len(_as_group(source)) == 2 else None),
    "contains": (False, lambda source: DATA if "1" in _as_group(source) else None),
    "by its name": (False, lambda source: _as_group(source)["1"][...]),
}


def _as_group(source: ZarrSource) -> zarr.Group:
    return ZarrSource.from_path(source.url, group="/").get_data()


def _read_with_holes(zarr: Zarr, read: Any, keys: set[str]) -> Counter[str]:
    """What comes of a read before each of whose requests, in turn, objects are deleted."""
    found = Counter[str]()
    for request in range(_MOST_REQUESTS):
        zarr.delete_before(request, keys)
        try:
            data = read(ZarrSource.from_path(zarr.url, group=zarr.array or None))
        except (ResourceNotFoundError, SourceChangedError) as error:
            assert error.url is not None
            assert error.url.startswith(zarr.url)
            assert None not in (error.expected, error.actual, error.remedy)
            found[type(error).__name__] += 1
        except KeyError:
            found["KeyError"] += 1
        else:
            if data is None:
                found["other members"] += 1
            elif np.array_equal(data, DATA):
                found["right"] += 1
            else:
                assert np.array_equal(data[data != 0], DATA[data != 0])
                found["fill values"] += 1
        if zarr.asked <= request:
            assert found["right"], found
            return found
        zarr.restore(keys)
    raise AssertionError("it never ends")


def _cases(kind: str):
    is_group = KINDS[kind][0] != ""
    return [name for name, (is_of_array, _) in READS.items() if is_of_array or is_group]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_deleted_between_two_requests_is_told(base, kind, requests):
    there = Zarr(base, kind)
    requests.append(there.ask)
    for name in _cases(kind):
        is_of_array, read = READS[name]
        for what, keys in DELETED.items():
            if not is_of_array and what != "everything":
                continue  # a group without one of its arrays is a group
            found = _read_with_holes(there, read, keys(there))
            about = (name, what, found)
            told = found["ResourceNotFoundError"] + found["SourceChangedError"]
            if what in ("everything", "the array's metadata"):
                assert set(found) <= {"ResourceNotFoundError", "SourceChangedError", "right"}, about
                assert told, about
            elif name == "dask":
                # The version is asked first, and says of every chunk that it was there.
                assert set(found) == {"SourceChangedError", "right"}, about
            else:
                # What a chunk that is not there says is that nothing was written; nobody can tell.
                assert {"fill values", "right"} <= set(found), about
                # But of a shard that a part of it was there.
                assert not told or kind == "shards", about
            assert name == "dask" or not found["SourceChangedError"], about


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_counts_in_a_key_is_told_of_chunks_too(base, kind, requests):
    there = Zarr(base, kind)
    requests.append(there.ask)
    for name in ("all", "a region"):
        for what, keys in DELETED.items():
            found = Counter[str]()
            for request in range(_MOST_REQUESTS):
                there.delete_before(-1, set())
                # Asked anew, for objects that were put back are others.
                source = ZarrSource.from_path(there.url, group=there.array or None)
                source.version()
                there.delete_before(request, keys(there))
                try:
                    assert np.array_equal(READS[name][1](source), DATA)
                    found["right"] += 1
                except SourceChangedError:
                    found["changed"] += 1
                if there.asked <= request:
                    break
                there.restore(there.gone)
            assert set(found) == {"changed", "right"}, (name, what, found)


@pytest.mark.parametrize("format", [2, 3])
def test_metadata_alone_that_count_in_a_key_are_asked_for_too(base, format, requests):
    there = Zarr(base, f"array of format {format}")
    requests.append(there.ask)
    source = ZarrSource.from_path(there.url, version="metadata")
    source.version()
    array = source.get_data()
    there.delete_before(0, set(there.objects))
    with pytest.raises((SourceChangedError, ResourceNotFoundError)):
        array[...]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_damaged_chunk_is_no_missing_one(base, kind, is_deleted):
    """Also where another chunk is not there."""
    there = Zarr(base, kind)
    first, second = sorted(key for key in there.objects if not _is_metadata(key))[:2]
    put(f"{there.url}/{first}", b"\xff" * 5)
    if is_deleted:
        io.remove(f"{there.url}/{second}")
    with pytest.raises(DecodeError):
        ZarrSource.from_path(there.url, group=there.array or None).get_data()[...]


@pytest.mark.parametrize("format", [2, 3])
def test_what_was_never_written_costs_a_request_for_each_read(base, format, requests):
    there = Zarr(base, f"array of format {format}")
    for key in DELETED["all chunks"](there):
        io.remove(f"{there.url}/{key}")
    requests.append(there.ask)
    array = ZarrSource.from_path(there.url).get_data()
    there.asked = 0
    assert not array[...].any()
    assert there.asked == 4 + 1
    there.asked = 0
    assert not array[2].any()
    assert there.asked == 1 + 1


@pytest.mark.parametrize("format", [2, 3])
def test_an_array_of_which_only_its_group_tells_is_there(base, format):
    """Consolidated metadata are all that some have; a chunk that is not there is one of fill values."""
    there = Zarr(base, f"group of format {format}")
    local = zarr.storage.MemoryStore()
    zarr.consolidate_metadata(_group(local, format).store)
    there.objects = {key: value.to_bytes() for key, value in local._store_dict.items()}
    there.restore(there.objects)
    for key in there.objects:
        if key.startswith("0/") and (_is_metadata(key) or key.endswith(("/1/0", "/1.0"))):
            io.remove(f"{there.url}/{key}")
    group = ZarrSource.from_path(there.url, group="/").get_data()
    data = group["0"][...]
    assert not data[1].any()
    assert np.array_equal(data[[0, 2, 3]], DATA[[0, 2, 3]])


def test_an_image_that_is_deleted_is_told(base):
    import cpr

    target = cpr.OMEZarrTarget.from_path(f"{base}/image.ome.zarr", chunks=(1, 4, 12), levels=2)
    target.set_data(np.stack([DATA, DATA]))
    url = target.persist().url
    image = OMEZarrSource.from_path(url)
    lazy, chunk = image.get_data(level=0), f"{url}/0/c/1/0/0"
    assert get(chunk)
    store, path = open_store(url)
    for entry in list(store.walk(path)):
        io.remove(entry.url)
    with pytest.raises(ResourceNotFoundError, match="not there any more"):
        lazy[...]
    with pytest.raises(ResourceNotFoundError):
        OMEZarrSource.from_path(url).get_data()
