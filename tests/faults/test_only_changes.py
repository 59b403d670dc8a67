"""A Zarr beside an earlier result: what is equal the store copies, and nothing is believed that it says.

Bytes are counted at a proxy. Whatever is wrong with the earlier result, the new one is right.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CprError, FormatError
from cpr.io.clients.s3fs import S3Client
from cpr.io.objects import remove_folder
from cpr.zarr.stores.manifest import Manifest, manifest_url
from tests.faults.proxy import FAULTS

pytestmark = pytest.mark.real_s3

PLANES = 40
DATA = np.random.default_rng(0).integers(1, 60_000, (PLANES, 64, 96)).astype("uint16")
CHANGED = DATA.copy()
CHANGED[17, 3, 5] ^= 1
OPTIONS = {"chunks": (1, 64, 96), "compressors": None}
CHUNK = DATA[0].nbytes


def write(base_url: str, data=DATA, fill=lambda target, data: target.set_data(data), **options):
    target = cpr.ZarrTarget.from_path(f"{base_url}/cells.zarr", **{**OPTIONS, **options})
    fill(target, data)
    return target.persist()


def as_dask(target, data):
    import dask
    import dask.array as da

    with dask.config.set(scheduler="threads"):
        target.set_data(da.from_array(data, chunks=(4, 64, 96)))


def as_planes(target, data):
    target.set_data(iter(data), shape=data.shape, dtype=data.dtype)


WAYS = {"array": lambda target, data: target.set_data(data), "dask": as_dask, "planes": as_planes}


def delete(target) -> None:
    remove_folder(target.url)
    io.remove(manifest_url(target.url))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_equal_is_not_sent(way, proxy, s3_url):
    first = write(s3_url)
    proxy.clear()
    second = write(s3_url, CHANGED, WAYS[way], base=first)
    assert proxy.request_bytes < CHUNK + 2 * second.manifest + 4096
    assert proxy.kinds.count("copy") == PLANES - 1
    assert (second.copied, second.uploaded) == ((PLANES - 1) * CHUNK, second.nbytes - second.copied)
    assert second.data_hash == write(s3_url, CHANGED, base=False).data_hash
    for other in (first, second):
        other.verify()
    delete(first)
    second.verify()
    assert np.array_equal(second.get_data()[...], CHANGED)
    third = write(s3_url, DATA, base=second.serialize())
    delete(second)
    third.verify()
    assert np.array_equal(third.get_data()[...], DATA)


def test_parts_and_what_they_make_up(proxy, s3_url):
    first = write(s3_url)
    options = {**OPTIONS, "shape": DATA.shape, "dtype": "uint16", "base": first.url}
    whole = cpr.ZarrTarget.from_path(f"{s3_url}/cells.zarr", **options)
    parts = []
    proxy.clear()
    for region in whole.regions((10,)):
        part = whole.part(region)
        part.set_data(CHANGED[region])
        parts.append(part.persist())
    whole.assemble(parts)
    assert [part.copied for part in parts] == [10 * CHUNK, 9 * CHUNK, 10 * CHUNK, 10 * CHUNK]
    assert whole.copied == (PLANES - 1) * CHUNK
    assert proxy.request_bytes < 2 * CHUNK + 4 * whole.manifest + 8192
    delete(first)
    whole.verify()
    assert np.array_equal(whole.get_data()[...], CHANGED)


@pytest.mark.parametrize(
    "options",
    [{"chunks": (1, 64, 96), "shards": (8, 64, 96)}, {"zarr_format": 2}, {"compressors": "zstd"}],
    ids=str,
)
def test_shards_and_formats(options, s3_url):
    first = write(s3_url, **options)
    second = write(s3_url, CHANGED, base=first, **options)
    assert second.copied > 0.7 * second.nbytes
    delete(first)
    second.verify()


def test_pyramids(s3_url):
    data = np.random.default_rng(0).integers(1, 60_000, (4, 512, 512)).astype("uint16")
    options = {"metadata": {"axes": "ZYX"}, "chunks": (1, 128, 128)}
    first = cpr.OMEZarrTarget.from_path(f"{s3_url}/cells.ome.zarr", **options)
    first.set_data(data)
    first.persist()
    data[0, 0, 0] ^= 1
    second = cpr.OMEZarrTarget.from_path(f"{s3_url}/cells.ome.zarr", base=first, **options)
    second.set_data(data)
    second.persist()
    assert second.uploaded < 0.1 * second.nbytes
    second.verify()


def test_large_objects_that_were_sent_in_parts(proxy, s3_url):
    data = np.random.default_rng(0).integers(1, 60_000, (2, 6 << 19)).astype("uint16")
    first = write(s3_url, data, chunks=(1, 6 << 19))
    proxy.clear()
    second = write(s3_url, data, chunks=(1, 6 << 19), base=first)
    assert second.copied == data.nbytes
    assert proxy.request_bytes < 1 << 16


# ---- the default


def test_the_newest_of_the_name_is_found(proxy, s3_url, monkeypatch):
    monkeypatch.setattr("cpr.zarr.find_earlier_result._LEAST_BYTES", DATA.nbytes)
    other = cpr.ZarrTarget.from_path(f"{s3_url}/cells-2.zarr", **OPTIONS)
    other.set_data(DATA)
    other.persist()
    proxy.clear()
    assert write(s3_url).copied == 0
    assert proxy.kinds.count("list") == 1
    second = write(s3_url, CHANGED)
    assert second.copied == (PLANES - 1) * CHUNK


def test_small_arrays_look_for_none(proxy, s3_url):
    write(s3_url)
    proxy.clear()
    assert write(s3_url).copied == 0
    assert "list" not in proxy.kinds


# ---- what is wrong with the earlier result


def other_bytes(first, s3_url):
    """Each object has other bytes than its manifest says, and as many."""
    for number in range(PLANES):
        with io.writing(f"{first.url}/c/{number}/0/0") as file:
            file.write(bytes(CHUNK))
    return first


def forged(first, s3_url):
    """A manifest that says of another's objects what ours will be."""
    other = write(f"{s3_url}/other", DATA[::-1].copy())
    ours = Manifest.stored(first.url)
    with io.writing(manifest_url(other.url)) as file:
        file.write(ours.data)
    return other.url


def deleted(first, s3_url):
    delete(first)
    return first


def objects_deleted(first, s3_url):
    for number in range(0, PLANES, 2):
        io.remove(f"{first.url}/c/{number}/0/0")
    return first


def manifest_damaged(first, s3_url):
    with io.writing(manifest_url(first.url)) as file:
        file.write(b"no manifest")
    return first


def of_other_chunks(first, s3_url):
    return write(f"{s3_url}/other", chunks=(2, 64, 96))


def elsewhere(first, s3_url):
    return write("memory://elsewhere")


def nothing(first, s3_url):
    return f"{s3_url}/nothing.zarr"


WRONG = [other_bytes, forged, deleted, objects_deleted, manifest_damaged, of_other_chunks, elsewhere, nothing]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_base_costs_time_alone(wrong, s3_url):
    base = wrong(write(s3_url), s3_url)
    second = write(s3_url, CHANGED, base=base)
    second.verify()
    assert np.array_equal(second.get_data()[...], CHANGED)
    assert second.copied <= (PLANES // 2) * CHUNK
    assert second.uploaded + second.copied == second.nbytes


@pytest.mark.parametrize("wrong", [other_bytes, forged], ids=lambda wrong: wrong.__name__)
def test_a_server_that_ignores_conditions_is_seen_through(wrong, s3_url, monkeypatch):
    base = wrong(write(s3_url), s3_url)
    request = S3Client.request

    def without_condition(self, method, **arguments):
        arguments.pop("CopySourceIfMatch", None)
        return request(self, method, **arguments)

    monkeypatch.setattr(S3Client, "request", without_condition)
    second = write(s3_url, DATA, base=base)
    second.verify()
    assert second.copied == 0


@pytest.mark.parametrize("base", [7, b"x", 1.5, True], ids=repr)
def test_what_is_no_base_is_refused(base):
    with pytest.raises(FormatError, match="base"):
        cpr.ZarrTarget.from_path("memory://x/cells.zarr", base=base)


def test_the_base_is_no_part_of_what_a_result_is(s3_url):
    first = write(s3_url)
    second = write(s3_url, base=first)
    assert "base" not in json.dumps(second.serialize())
    assert second.identity() == first.identity()


# ---- faults and kills


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_request_breaks_once(fault, proxy, s3_url):
    data, changed = DATA[:4], CHANGED[15:19]
    first = write(s3_url, data)
    proxy.clear()
    write(f"{s3_url}/undisturbed", changed, base=first)
    kinds = list(proxy.kinds)
    assert kinds.count("copy") == 0
    mixed = np.concatenate([data[:3], changed[2:3]])
    proxy.clear()
    write(f"{s3_url}/undisturbed", mixed, base=first)
    kinds = list(proxy.kinds)
    assert kinds.count("copy") == 3
    for number, kind in enumerate(kinds):
        place = f"{s3_url}/{number}"
        proxy.break_request(number, fault)
        try:
            target = write(place, mixed, base=first)
        except CprError:
            proxy.clear()
            # A copy that breaks is an upload, and no error.
            assert kind != "copy", fault
            assert list(io.find(f"{place}/.cpr/*.blocks", hidden=True)) == []
            continue
        assert len(proxy.broken) == 1
        proxy.clear()
        target.verify()
        assert np.array_equal(target.get_data()[...], mixed), (fault, kind)


KILLED = """
import os, signal, sys
import numpy as np
import cpr
from cpr.io.copying import InsideCopies

url, base, at, data = sys.argv[1], sys.argv[2], int(sys.argv[3]), np.load(sys.argv[4])
count, copy = 0, InsideCopies.copy

def counted(self, *args):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return copy(self, *args)

InsideCopies.copy = counted
target = cpr.ZarrTarget.from_path(url, chunks=(1, 64, 96), compressors=None, base=base)
target.set_data(data)
target.persist()
print(target.copied)
"""


@pytest.mark.slow
def test_killed_amid_copies(s3_url, tmp_path):
    first = write(s3_url)
    np.save(tmp_path / "data.npy", CHANGED)
    for at in (1, PLANES // 2, PLANES):
        place = f"{s3_url}/{at}"
        arguments = [f"{place}/cells.zarr", first.url, str(at), str(tmp_path / "data.npy")]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, *arguments],
            capture_output=True,
            text=True,
            env=os.environ,
            check=False,
        )
        if at == PLANES:  # only so many less one are copied
            assert done.stdout.strip() == str((PLANES - 1) * CHUNK), done.stderr
            continue
        assert done.returncode == -9
        assert list(io.find(f"{place}/.cpr/*.blocks", hidden=True)) == []
        assert len(list(io.find(f"{place}/.cpr/*.unfinished", hidden=True))) == 1
    first.verify()


@pytest.mark.slow
def test_a_hundredth_of_a_large_array(proxy, s3_url):
    """256 MiB in chunks of 1 MiB, of which two change."""
    data = np.random.default_rng(0).integers(1, 60_000, (256, 1024, 512)).astype("uint16")
    options = {"chunks": (1, 1024, 512)}
    first = write(s3_url, data, **options)
    data[[3, 200], 0, 0] ^= 1
    proxy.clear()
    second = write(s3_url, data, **options)  # the newest is found
    assert proxy.request_bytes <= 0.0105 * data.nbytes + second.manifest
    assert second.copied == 254 << 20
    delete(first)
    second.verify()
