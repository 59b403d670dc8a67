"""Manifests and records of parts that strangers have made up, with all their digests right.

Whoever may write where a whole is written can put a manifest there that no part has written: it is not
adopted, stops no task and is never raised as anything but an error of cpr's.
"""

from __future__ import annotations

import copy
import json
import random
import struct

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, CprError
from cpr.io.hashing import digest_of, hex16
from cpr.records.record_digest import seal_of
from cpr.zarr.parts.earlier_run import parts_there
from cpr.zarr.stores.manifest import Manifest
from tests.stored_flow import get, put

_LENGTH = struct.Struct(">Q")
_NUMBERS = [None, True, -1, 1.5, 1 << 62, (1 << 62) + 1, 1 << 64, -(1 << 63), "1", [], {}]
_REGIONS = [
    *([[0, 1 << 62], [0, 1 << 62]], [[0, 4]], [[0, 4], [0, 8], [0, 1]], [[0, 8], [0, 9]], [[8, 12], [0, 8]]),
    *(
        [[-4, 4], [0, 8]],
        [[4, 0], [0, 8]],
        [[0, 4, 8], [0, 8]],
        [[0.5, 4], [0, 8]],
        ["ab", "cd"],
        "ab",
        5,
        {},
    ),
]
_PARTS = [5, 1.5, True, "region", [["region", []]], [1], {"regions": []}, {"region": 5, "x": 1}]


def _whole(folder):
    return cpr.ZarrTarget.from_path(f"{folder}/v.zarr", shape=(8, 8), dtype="uint16", chunks=(4, 8))


@pytest.fixture
def stored(tmp_path):
    """Two parts of a whole, published; the record of the first, the layout of both."""
    whole = _whole(tmp_path)
    parts = [whole.part(np.s_[at : at + 4]) for at in (0, 4)]
    for number, part in enumerate(parts):
        part.set_data(np.full((4, 8), number + 1, "uint16"))
        part.persist()
    return parts, parts[0].format.layout(parts[0].name, parts[0].url)


def _index(part):
    """The index of a part's manifest as JSON, and what is before it."""
    blob = get(part.place)
    (length,) = _LENGTH.unpack(blob[-8:])
    return json.loads(blob[-8 - length : -8]), blob[: -8 - length]


def _forge(part, index, body):
    """Put a manifest in the place of a part's, under the name that it would have; the record of it."""
    text = json.dumps(index).encode()
    algorithm = index["algorithm"] if isinstance(index["algorithm"], str) else "xxh3_128"
    try:
        root = f"{algorithm}:{digest_of(text, algorithm).hex()}"
    except CprError:
        root = f"xxh3_128:{'0' * 32}"
    region = index["part"].get("region") if isinstance(index.get("part"), dict) else None
    try:
        bounds = tuple(tuple(one) for one in region)
    except TypeError:
        bounds = part.region
    io.remove(part.place)
    put(
        io.sidecar_url(part.url, f".{hex16(f'{bounds} {root}'.encode())}.digests"),
        body + text + _LENGTH.pack(len(text)),
    )
    record = part.serialize()["__cpr__"]
    record |= {"checksum": root, "content_digest": root, "manifest": len(body + text) + 8}
    record |= {"data_hash": hex16(text), "region": region}
    record["seal"] = seal_of(record)
    return {"__cpr__": record}


def _use(record):
    """Whatever may be done with a part; how often it was refused."""
    refused = 0
    try:
        part = cpr.load(record)
    except CprError:
        return 1
    for action in (
        lambda: part.get_data()[:],
        lambda: part.get_data(region=np.s_[0:1]),
        part.verify,
        part.check,
        part._repr_html_,
    ):
        try:
            action()
        except CprError:
            refused += 1
    return refused


def _changed_numbers():
    for value in _NUMBERS:
        for field in ("objects", "nbytes"):
            yield f"{field} {value!r}", lambda index, field=field, value=value: index.update({field: value})
        for at in range(1, 5):
            yield (
                f"row {at} {value!r}",
                lambda index, at=at, value=value: index["pages"][0].__setitem__(at, value),
            )


def _changed_parts():
    for value in _PARTS:
        yield f"part {value!r}", lambda index, value=value: index.update(part=value)
    for value in _REGIONS:
        yield f"region {value!r}", lambda index, value=value: index.update(part={"region": value})
    for value in ("md5", "", 5, None, []):
        yield f"algorithm {value!r}", lambda index, value=value: index.update(algorithm=value)
    yield "another first key", lambda index: index["pages"][0].__setitem__(0, "z")
    yield "a page twice", lambda index: index["pages"].append(index["pages"][0])


FORGED = dict([*_changed_numbers(), *_changed_parts()])


@pytest.mark.parametrize("name", FORGED)
def test_what_is_forged_is_not_adopted_and_stops_nothing(stored, tmp_path, name):
    parts, layout = stored
    index, body = _index(parts[0])
    before = copy.deepcopy(index)
    FORGED[name](index)
    assert index != before or "True" in name  # which equals 1
    record = _forge(parts[0], index, body)
    found = parts_there(_whole(tmp_path), layout, parts[0].key)
    regions = sorted(one.region for one in found)
    assert regions in ([parts[1].region], [one.region for one in parts])
    for one in found:  # what was changed says the same
        assert np.array_equal(one.get_data()[:], np.full((4, 8), 1 + one.region[0][0] // 4, "uint16"))
    _use(record)


@pytest.mark.parametrize("value", _REGIONS)
def test_a_region_that_the_whole_does_not_have_is_refused(stored, value):
    parts, _ = stored
    index, body = _index(parts[0])
    index["part"] = {"region": value}
    assert _use(_forge(parts[0], index, body))


def test_pages_of_bytes_at_random(stored, tmp_path):
    parts, layout = stored
    index, body = _index(parts[0])
    dice = random.Random(1)
    row = index["pages"][0]
    for _ in range(150):
        page = bytearray(body[row[2] : row[2] + row[3]])
        for _ in range(dice.choice((1, 2, 5))):
            page[dice.randrange(len(page))] = dice.choice((0, 127, 255, dice.randrange(256)))
        changed = copy.deepcopy(index)
        changed["pages"][0][5] = digest_of(page, index["algorithm"]).hex()
        record = _forge(parts[0], changed, body[: row[2]] + bytes(page))
        parts_there(_whole(tmp_path), layout, parts[0].key)
        _use(record)


def test_an_entry_that_cannot_be_read_is_not_adopted(stored, tmp_path):
    parts, layout = stored
    io.remove(parts[0].place)
    place = io.sidecar_url(parts[0].url, ".0123456789abcdef.digests")
    for content in (b"", b"{}", b"\xff" * 100, _LENGTH.pack((1 << 64) - 1)):
        put(place, content)
        found = parts_there(_whole(tmp_path), layout, parts[0].key)
        assert [one.region for one in found] == [parts[1].region]


@pytest.mark.parametrize("old", [b"c/0", b"c/1", b"c/2", b"zarr.json"])
def test_keys_of_a_manifest_are_in_order(tmp_path, old):
    target = cpr.ZarrTarget.from_path(f"{tmp_path}/a.zarr", chunks=(1,))
    target.set_data(np.arange(1, 4))
    target.persist()
    manifest = Manifest.stored(target.url)
    index = json.loads(manifest._index_bytes)
    row = index["pages"][0]
    before, page = manifest.data[: row[2]], manifest.data[row[2] : row[2] + row[3]]
    assert list(manifest.keys()) == ["c/0", "c/1", "c/2", "zarr.json"]
    page = page.replace(old, {b"c/1": b"c/2"}.get(old, b"c/1") if len(old) == 3 else b"a" * len(old))
    row[5] = digest_of(page, "xxh3_128").hex()
    row[0] = page[8 : page.index(b"\0", 8)].decode()
    text = json.dumps(index).encode()
    blob = before + page + text + _LENGTH.pack(len(text))
    forged = Manifest(target.url, len(blob), f"xxh3_128:{digest_of(text, 'xxh3_128').hex()}", blob)
    with pytest.raises(CorruptDataError):
        list(forged.keys())
