"""What does not make a whole is told before anything is published, and both sides are named."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, PartError, ResourceNotFoundError, UsageError
from cpr.zarr.stores.manifest import manifest_url
from tests.zarr.parts.test_parts import DATA, parts_of, whole_of

KINDS = pytest.mark.parametrize("cls", [cpr.ZarrTarget, cpr.OMEZarrTarget])
OPTIONS = {"chunks": (2, 20, 20)}


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def place(request, tmp_path):
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


def refused(whole, parts, error, *names, **options):
    with pytest.raises(error) as caught:
        whole.assemble(parts, **options)
    text = str(caught.value)
    assert all(name in text for name in names), text
    assert "Remedy" in text
    assert io.lookup(manifest_url(whole._url(parts[0].key))) is None
    assert whole.checksum is None
    return caught.value


@KINDS
def test_overlap(cls, tmp_path):
    whole = whole_of(cls, DATA, tmp_path, **OPTIONS)
    parts = parts_of(whole, DATA, (2,))
    twice = whole.part(np.s_[2:6, 20:])
    twice.set_data(DATA[2:6, 20:])
    refused(whole, [*parts, twice], PartError, "overlap", "[2:6, 20:50, 0:70]", "[2:4, 0:50, 0:70]")
    refused(whole, [*parts, parts[0]], PartError, "the same region twice")
    whole.assemble(parts).verify()


@KINDS
def test_gap(cls, tmp_path):
    whole = whole_of(cls, DATA, tmp_path, **OPTIONS)
    parts = parts_of(whole, DATA, (2,))
    names = "no part has [2:4, 0:20, 0:20]", "[0:2, 0:50, 0:70]", "[4:6, 0:50, 0:70]"
    refused(whole, [parts[0], parts[2]], PartError, "gap", *names)
    # What is there may be another's work: it is not deleted when a gap is meant.
    refused(whole, [parts[0], parts[2]], PartError, "none of these parts has", fill=True)
    whole.assemble(parts).verify()


@KINDS
def test_cut_chunk(cls, tmp_path):
    whole = whole_of(cls, DATA, tmp_path, **OPTIONS)
    finer = whole_of(cls, DATA, tmp_path, chunks=(1, 20, 20))
    cut = [finer.part(np.s_[:3]), finer.part(np.s_[3:])]
    for part in cut:
        part.set_data(DATA[slice(*part.region[0])])
    names = "two parts cut one chunk", "[0:3, 0:50, 0:70]", "[3:6, 0:50, 0:70]"
    refused(whole, [part.persist() for part in cut], PartError, *names)


@KINDS
@pytest.mark.parametrize("what", ["name", "chunks", "dtype", "shape", "codec"])
def test_part_of_another_whole(cls, what, tmp_path):
    whole = whole_of(cls, DATA, tmp_path, **OPTIONS)
    parts = parts_of(whole, DATA, (2,))
    data, options, where = DATA, dict(OPTIONS), tmp_path
    if what == "name":
        where = tmp_path / "other"
    elif what == "chunks":
        options["chunks"] = (1, 20, 20)
    elif what == "codec":
        options["compressors"] = "gzip"
    elif what == "dtype":
        data = DATA.astype("int32")
    else:
        data = np.concatenate([DATA, DATA])
    foreign = whole_of(cls, data, where, **options).part(np.s_[2:4])
    foreign.set_data(data[2:4])
    name = str(tmp_path / "other") if what == "name" else foreign.persist().url
    refused(whole, [parts[0], foreign, parts[2]], PartError, "of another whole", "[2:4, 0:50, 0:70]", name)
    whole.assemble(parts).verify()


def test_digests_of_another_kind(tmp_path, monkeypatch):
    whole = whole_of(cpr.ZarrTarget, DATA, tmp_path, **OPTIONS)
    parts = parts_of(whole, DATA, (2,))
    monkeypatch.setenv("CPR_CHECKSUM", "sha256")
    other = whole.part(np.s_[2:4])
    other.set_data(DATA[2:4])
    refused(whole, [parts[0], other, parts[2]], PartError, "sha256", "xxh3_128")


def objects_of(part):
    """The URLs of a part's chunks of the full resolution."""
    found = io.find(f"{part.url}/**")
    level = r"(0/)?c/" if "/0/c/" in " ".join(found).replace("\\", "/") else r"c/"
    first = part.region[0][0] // 2
    return sorted(url for url in found if re.search(rf"{level}{first}/\d+/\d+$", url.replace("\\", "/")))


@KINDS
@pytest.mark.parametrize("harm", ["flip", "cut", "longer", "gone", "digests flip", "digests cut"])
def test_damaged_part(cls, harm, place):
    whole = whole_of(cls, DATA, place, **OPTIONS)
    parts = parts_of(whole, DATA, (2,))
    victim = parts[1]
    url = victim.place if harm.startswith("digests") else objects_of(victim)[2]
    with io.reading(url) as file:
        content = bytearray(file.read())
    good = bytes(content)
    if harm.endswith("flip"):
        content[len(content) // 2] ^= 1
    elif harm.endswith("cut"):
        content = content[:-1]
    else:
        content += b"\0"
    if harm == "gone":
        io.remove(url)
    else:
        put(url, bytes(content))
    error = refused(whole, parts, CorruptDataError, "part [2:4, 0:50, 0:70]")
    assert not isinstance(error, FileNotFoundError)
    put(url, good)
    whole.assemble(parts).verify()


def put(url, content):
    with io.writing(url) as file:
        file.write(content)


def test_damage_that_kept_its_time_is_found_by_a_full_check(tmp_path):
    whole = whole_of(cpr.ZarrTarget, DATA, tmp_path, **OPTIONS)
    parts = parts_of(whole, DATA, (2,))
    (path, *_) = objects_of(parts[1])
    times = os.stat(path)
    content = bytearray(Path(path).read_bytes())
    content[-5] ^= 1
    Path(path).write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    refused(whole, parts, CorruptDataError, "part [2:4, 0:50, 0:70]", full=True)


@KINDS
def test_deleted_part(cls, place):
    whole = whole_of(cls, DATA, place, **OPTIONS)
    parts = parts_of(whole, DATA, (2,))
    for url in (*objects_of(parts[1]), parts[1].place):
        io.remove(url)
    with pytest.raises(ResourceNotFoundError):
        parts[1].check()  # its task runs again
    refused(whole, parts, ResourceNotFoundError, "part [2:4, 0:50, 0:70]", "deleted")
    io.objects.remove_folder(parts[0].url)
    refused(whole, [parts[0], parts[2]], CorruptDataError, "missing", fill=True)


def test_removed_as_an_orphan(tmp_path):
    from datetime import timedelta

    whole = whole_of(cpr.ZarrTarget, DATA, tmp_path, **OPTIONS)
    parts = parts_of(whole, DATA, (2,))
    assert [one.url for one in io.find_orphans(tmp_path, timedelta(seconds=-60))] == [parts[0].url]
    io.remove_orphans(tmp_path, timedelta(seconds=-60))
    refused(whole, parts, (CorruptDataError, ResourceNotFoundError))
    io.remove_orphans(tmp_path, timedelta(seconds=-60))
    assert not io.find(f"{tmp_path}/**", hidden=True)


def test_what_is_no_part(tmp_path):
    whole = whole_of(cpr.ZarrTarget, DATA, tmp_path, **OPTIONS)
    with pytest.raises(UsageError, match=r"whole\.part"):
        whole.assemble([DATA])
    with pytest.raises(PartError, match="no parts"):
        whole.assemble([])
