"""A record whose fields were altered raises, at load or at read: never is other data read without a word."""

from __future__ import annotations

import copy
import json

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.errors import CprError, RecordError
from cpr.records.record_digest import SEAL, seal_of
from cpr.records.registry import RECORD_KEY

STACK = np.arange(2 * 3 * 8 * 10, dtype="uint16").reshape(2, 3, 8, 10)
TABLE = pd.DataFrame({"label": [1, 2, 3], "area": [0.5, np.nan, 2.0], "name": ["a", None, "c"]})
ZARR = {"chunks": (1, 1, 8, 10)}


def _image(place, **options):
    return cpr.ImageTarget.from_path(f"{place}/a.tif", pixel_size=0.25, unit="micron", **options), STACK


KINDS = {
    "ImageJ TIFF": _image,
    "TIFF without compression": lambda place: _image(place, compression=None),
    "OME-TIFF": lambda place: _image(place, imagej=False),
    "TIFF of a mask": lambda place: (_image(place)[0], STACK > 100),
    "plain TIFF": lambda place: (_image(place)[0], STACK.astype("int64")),
    "NPY": lambda place: (cpr.NumpyTarget.from_path(f"{place}/a.npy"), STACK),
    "CSV": lambda place: (cpr.CSVTarget.from_path(f"{place}/a.csv"), TABLE),
    "CSV, compressed": lambda place: (cpr.CSVTarget.from_path(f"{place}/a.csv.gz", separator=";"), TABLE),
    "Parquet": lambda place: (cpr.ParquetTarget.from_path(f"{place}/a.parquet"), TABLE.set_index("label")),
    "Zarr": lambda place: (cpr.ZarrTarget.from_path(f"{place}/a.zarr", **ZARR), STACK),
    "Zarr of format 2": lambda place: (cpr.ZarrTarget.from_path(f"{place}/a.zarr", zarr_format=2), STACK),
    "OME-Zarr": lambda place: (
        cpr.OMEZarrTarget.from_path(f"{place}/a.ome.zarr", metadata={"axes": "TCYX", "unit": "micron"}),
        STACK,
    ),
}
# Where the object is, and how it came to be: nothing is there, or it is the same data.
HARMLESS = {"location", "name", "key", "made"}


def others(value):
    """Other values that such a field may have."""
    match value:
        case bool():
            yield not value
        case int():
            yield from (value + 1, value * 2 + 1, 0)
        case float():
            yield from (value * 2, value + 1e-6)
        case str():
            replaced = {
                "uint16": "int16",
                "int64": "float64",
                "bool": "uint8",
                "str": "object",
                "micron": "nm",
            }
            if value in replaced:
                yield replaced[value]
            for digit, other in ("08", "19", "af"):
                if digit in value:
                    yield value.replace(digit, other, 1)
                    break
            yield value + "x"
        case list():
            if value[::-1] != value:
                yield value[::-1]
            yield [*value, value[-1] if value else 1]
            yield [1, *value]
            for i, item in enumerate(value):
                for other in others(item):
                    yield [*value[:i], other, *value[i + 1 :]]
            if len(value) > 1 and all(type(n) is int for n in value):
                yield [value[0] * value[1], *value[2:]]
        case dict():
            for name, item in value.items():
                yield {k: v for k, v in value.items() if k != name}
                for other in others(item):
                    yield {**value, name: other}
        case None:
            yield 1


def stored(kind, tmp_path):
    target, data = KINDS[kind](tmp_path)
    target.set_data(data)
    return json.loads(json.dumps(target.serialize())), data


def altered(record):
    """The record with each of its fields altered, and without it."""
    for name in record[RECORD_KEY]:
        for value in others(record[RECORD_KEY][name]):
            changed = copy.deepcopy(record)
            changed[RECORD_KEY][name] = value
            yield name, changed
        changed = copy.deepcopy(record)
        del changed[RECORD_KEY][name]
        yield name, changed


def contents(resource):
    data = resource.get_data()
    return data if isinstance(data, (np.ndarray, pd.DataFrame)) else whole(data)


def whole(node):
    node = node if hasattr(node, "shape") else node["0"]
    return node[...]


def same(found, data):
    if isinstance(data, pd.DataFrame):
        return isinstance(found, pd.DataFrame) and found.equals(data) and (found.dtypes == data.dtypes).all()
    return found.shape == data.shape and found.dtype == data.dtype and np.array_equal(found, data)


# Their files say all of what they hold: such records have no fields of a format, and need no seal.
PLAIN = {"NPY", "Zarr", "Zarr of format 2"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in PLAIN])
def test_every_field_counts(kind, tmp_path):
    record, data = stored(kind, tmp_path)
    assert same(contents(cpr.load(record)), data)
    assert cpr.load(record).serialize() == record
    tried = 0
    for name, changed in altered(record):
        if name in HARMLESS or (name == SEAL and SEAL not in changed[RECORD_KEY]):
            continue
        tried += 1
        with pytest.raises(RecordError) as caught:
            cpr.load(changed)
        assert caught.value.remedy
    assert tried > 20


@pytest.mark.parametrize("kind", KINDS)
def test_fields_that_are_not_sealed_give_the_same_data_or_an_error(kind, tmp_path):
    record, data = stored(kind, tmp_path)
    for name in sorted(HARMLESS):
        for value in (str(tmp_path / "other"), "memory://other", "other", "0123456789abcdef", {}, None):
            changed = {RECORD_KEY: {**record[RECORD_KEY], name: value}}
            try:
                found = contents(cpr.load(changed))
            except CprError:
                continue
            assert same(found, data)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in {"CSV", "CSV, compressed", "Parquet"}]
)
def test_arrays_of_records_without_a_seal_are_held_to_their_hash(kind, tmp_path):
    """As earlier versions wrote them. Tables: pandas' dtypes differ from version to version."""
    record, data = stored(kind, tmp_path)
    assert (record[RECORD_KEY].pop(SEAL, None) is None) == (kind in PLAIN)
    assert same(contents(cpr.load(record)), data)
    assert cpr.load(record).serialize() == record  # nobody vouches for what nobody has checked
    for name, changed in altered(record):
        try:
            found = contents(cpr.load(changed))
        except CprError as error:
            assert error.remedy
            continue
        assert same(found, data), (name, changed)


def test_the_seal_outlives_other_programs_and_copies(tmp_path):
    record, data = stored("ImageJ TIFF", tmp_path)
    # As JavaScript and databases write numbers and order keys.
    spelled = json.dumps(record, sort_keys=True).replace("4.0", "4")
    assert spelled != json.dumps(record, sort_keys=True)
    assert same(cpr.load(json.loads(spelled)).get_data(), data)
    copied = cpr.load(record).copy_to(tmp_path / "copies").serialize()
    assert copied[RECORD_KEY][SEAL] == record[RECORD_KEY][SEAL]
    assert same(cpr.load(copied).get_data(), data)
    assert seal_of(copied[RECORD_KEY]) == seal_of(record[RECORD_KEY])


def test_the_remedy(tmp_path):
    record, data = stored("CSV", tmp_path)
    changed = {RECORD_KEY: {**record[RECORD_KEY], "separator": ";"}}
    with pytest.raises(RecordError, match="altered") as caught:
        cpr.load(changed)
    assert "as serialize() returned it" in caught.value.remedy
    assert same(cpr.load(record).get_data(), data)
