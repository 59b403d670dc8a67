"""Other content under one `data_hash` has no identity, no cache key and no object in common with the first.

Hashes are weakened, so that all content of a kind has one name; and for arrays two are made that have one.
"""

from __future__ import annotations

import copy
import json
import pickle
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

import cpr
import cpr.data.arrays
import cpr.data.tables.table_digest
import cpr.io.hashing
import cpr.zarr.part_of_result
import cpr.zarr.stores.manifest
from cpr import io
from cpr.data.arrays import hash_array
from cpr.errors import CorruptDataError, RecordError
from cpr.operations.records import Record, distinct_targets
from cpr.records.content_digest import same_content
from cpr.records.registry import register
from cpr.Target import Target
from tests.text_format import Text

ALGORITHMS = ["xxh3_128", "sha256", pytest.param("blake3", marks=pytest.mark.slow)]
SAME = "0" * 16


class SameForAll:
    """A digest that is the same for all content."""

    def update(self, data) -> None:
        """Forget it."""

    def hexdigest(self) -> str:
        return SAME


@pytest.fixture
def weak(monkeypatch):
    """All content of a kind has one `data_hash`."""
    for module in (cpr.data.arrays, cpr.io.hashing):
        monkeypatch.setattr(module, "content_digest", SameForAll)
    for module in (cpr.data.tables.table_digest, cpr.zarr.stores.manifest, cpr.zarr.part_of_result):
        monkeypatch.setattr(module, "hex16", lambda data: SAME)


@pytest.fixture(params=ALGORITHMS)
def algorithm(request, monkeypatch) -> str:
    if request.param == "blake3":
        pytest.importorskip("blake3")
    monkeypatch.setenv("CPR_CHECKSUM", request.param)
    return request.param


@dataclass(frozen=True)
class Nameless(Text):
    """Texts under one name."""

    def fingerprint(self, data: str) -> str:
        return SAME


@register
class NamelessTarget(Target):
    format_class = Nameless


@dataclass(frozen=True)
class Dated(Text):
    """Texts whose files are others each time."""

    encodes_alike = False

    def encode(self, data: str, file) -> None:
        file.write(f"{uuid.uuid4().hex}{data}".encode())

    def decode(self, file) -> str:
        return super().decode(file)[32:]


@register
class DatedTarget(Target):
    format_class = Dated


def array(n: int) -> np.ndarray:
    return np.full((4, 64, 64), n, "uint16")


def frame(n: int) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, n], "b": ["x", f"y{n}"]})


def filled(target, data, **announced):
    target.set_data(data, **announced)
    return target


def streamed(cls, name: str):
    return lambda base, n: filled(
        cls.from_path(f"{base}/{name}"), iter(array(n)), shape=(4, 64, 64), dtype="uint16"
    )


def group(base: str, n: int):
    target = cpr.ZarrTarget.from_path(f"{base}/a.zarr")
    target.create().create_array("inner", data=array(n))
    return target


def part(base: str, n: int):
    whole = cpr.ZarrTarget.from_path(
        f"{base}/{n}/a.zarr", shape=(4, 64, 64), dtype="uint16", chunks=(1, 64, 64)
    )
    whole.location = base  # parts of two wholes of one name
    return filled(whole.part(np.s_[:2]), array(n)[:2])


def whole(base: str, n: int):
    target = cpr.ZarrTarget.from_path(f"{base}/a.zarr", shape=(4, 64, 64), dtype="uint16", chunks=(1, 64, 64))
    parts = [filled(target.part(region), array(n)[region]) for region in (np.s_[:2], np.s_[2:])]
    return target.assemble(parts)


def zarr(base: str, n: int):
    return filled(cpr.ZarrTarget.from_path(f"{base}/a.zarr", chunks=(1, 64, 64)), array(n))


def image(base: str, n: int):
    return filled(cpr.OMEZarrTarget.from_path(f"{base}/a.ome.zarr", metadata={"axes": "CYX"}), array(n))


def plate(base: str, n: int):
    return filled(cpr.OMEPlateTarget.from_path(f"{base}/plate.ome.zarr"), {"A1": image(base, n)})


FILES = {
    "npy": lambda base, n: filled(cpr.NumpyTarget.from_path(f"{base}/a.npy"), array(n)),
    "npy, streamed": streamed(cpr.NumpyTarget, "a.npy"),
    "tiff": lambda base, n: filled(cpr.ImageTarget.from_path(f"{base}/a.tif"), array(n)),
    "tiff, streamed": streamed(cpr.ImageTarget, "a.tif"),
    "ome-tiff": lambda base, n: filled(cpr.ImageTarget.from_path(f"{base}/a.ome.tif"), array(n)),
    "csv": lambda base, n: filled(cpr.CSVTarget.from_path(f"{base}/a.csv"), frame(n)),
    "csv, streamed": lambda base, n: filled(cpr.CSVTarget.from_path(f"{base}/a.csv"), iter([frame(n)])),
    "csv.gz": lambda base, n: filled(cpr.CSVTarget.from_path(f"{base}/a.csv.gz"), frame(n)),
    "parquet": lambda base, n: filled(cpr.ParquetTarget.from_path(f"{base}/a.parquet"), frame(n)),
    "a format of one's own": lambda base, n: filled(NamelessTarget.from_path(f"{base}/a.txt"), f"text {n}"),
}
FOLDERS = {
    "zarr": zarr,
    "a group": group,
    "a part": part,
    "assembled": whole,
    "ome-zarr": image,
    "plate": plate,
}
EXCERPTS = {
    "region": lambda base, n: zarr(base, n).region(np.s_[1, :8]),
    "field": lambda base, n: plate(base, n)["A", 1][0],
}
KINDS = {**FILES, **FOLDERS, **EXCERPTS}


def held(target):
    """The data, to compare."""
    data = target.get_data()
    if hasattr(data, "members"):
        paths = sorted(path for path, node in data.members(max_depth=None) if hasattr(node, "dtype"))
        return [np.asarray(data[path][...]).tolist() for path in paths]
    return data.to_dict() if isinstance(data, pd.DataFrame) else np.asarray(data).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_none_answers_for_another(kind, algorithm, weak):
    base = f"memory://{uuid.uuid4().hex}"
    make = KINDS[kind]
    first, second, again = make(base, 3), make(base, 7), make(base, 3)
    before = [one.identity() for one in (first, second, again)]
    assert {one["data_hash"] for one in before} == {SAME}
    assert before[0] == before[2] != before[1]
    assert cpr.hash_objects(first) == cpr.hash_objects(again) != cpr.hash_objects(second)
    records = [json.loads(json.dumps(one.serialize())) for one in (first, second, again)]
    for one, identity, record in zip((first, second, again), before, records, strict=True):
        for found in (one, cpr.load(record), pickle.loads(pickle.dumps(one))):
            assert found.identity() == identity
            assert found.content_digest.startswith(f"{algorithm}:")
    data = [held(cpr.load(record)) for record in records]
    assert data[0] == data[2] != data[1]
    fields = [record["__cpr__"] for record in records]
    assert same_content(fields[0], fields[2]) and not same_content(fields[0], fields[1])
    assert same_content(fields[0], {"data_hash": SAME})  # as far as an earlier version's record tells
    if kind not in EXCERPTS:
        assert first.url != second.url or first.place != second.place
    named = [Record(f"{base}/records", datetime.now(UTC), 0, value=record) for record in records]
    assert len(list(distinct_targets(named, with_regions=True))) >= 2


def lie(kind: str, base: str) -> tuple[dict, Target]:
    """The record of a result, which a stranger lets say that its content is that of another; and that one."""
    first, second = KINDS[kind](base, 3), KINDS[kind](base, 7)
    record, other = copy.deepcopy(first.serialize()), second.serialize()["__cpr__"]
    for name in ("data_hash", "content_digest"):
        record["__cpr__"][name] = other[name]
    if "seal" in record["__cpr__"]:
        from cpr.records.record_digest import seal_of

        record["__cpr__"]["seal"] = seal_of(record["__cpr__"])
    return record, second


@pytest.mark.parametrize("kind", [*FILES, *FOLDERS])
@pytest.mark.parametrize("algorithm", ["sha256"], indirect=True)
def test_a_record_does_not_claim_the_content_of_another(kind, algorithm):
    record, second = lie(kind, f"memory://{uuid.uuid4().hex}")
    with pytest.raises(RecordError) as caught:
        cpr.load(record)
    assert caught.value.field == "content_digest"
    # Nor by another algorithm, or by leaving it out.
    for digest in ("xxh3_128:" + "0" * 32, None):
        left = copy.deepcopy(record)
        left["__cpr__"].pop("seal", None)
        if digest is None:
            del left["__cpr__"]["content_digest"]
            assert cpr.load(left).identity() != second.identity()
            continue
        left["__cpr__"]["content_digest"] = digest
        with pytest.raises(RecordError):
            cpr.load(left)


@pytest.mark.parametrize("kind", FOLDERS)
def test_nor_that_of_another_folder_by_default(kind):
    record, second = lie(kind, f"memory://{uuid.uuid4().hex}")
    with pytest.raises(RecordError):
        cpr.load(record)
    for name in ("content_digest", "seal"):
        record["__cpr__"].pop(name, None)
    one = cpr.load(record)
    assert one.identity() != second.identity()
    with pytest.raises(CorruptDataError, match="contradict each other"):
        one.get_data()


@pytest.mark.parametrize("kind", EXCERPTS)
def test_some_of_a_zarr_is_compared_with_its_record(kind, algorithm):
    record, second = lie(kind, f"memory://{uuid.uuid4().hex}")
    one = cpr.load(record)
    assert one.identity() == second.identity()
    for read in (one.get_data, one.get_dask, lambda: one.check(full=True)):
        with pytest.raises(CorruptDataError, match="others than its record says") as caught:
            read()
        assert second.content_digest in caught.value.expected
    record["__cpr__"]["content_digest"] = ("xxh3_128:" if algorithm != "xxh3_128" else "sha256:") + "0" * 64
    with pytest.raises(RecordError):
        cpr.load(record)


def test_by_default_encoders_and_levels_make_no_difference(monkeypatch):
    """Nor does it whether it was streamed: what is counted is of the content."""
    base = f"memory://{uuid.uuid4().hex}"
    found = []
    for level in (1, 6, 9):
        monkeypatch.setitem(cpr.image.tiff._LEVELS, "zlib", (level, range(10)))
        found.append(FILES["tiff"](base, 3).persist())
    found.append(FILES["tiff, streamed"](base, 3))
    assert len({one.checksum for one in found}) == 3
    assert [one.identity() for one in found] == [found[0].identity()] * 4


def test_a_record_without_a_digest_counts_as_it_did():
    """Those of earlier versions keep their cache keys."""
    base = f"memory://{uuid.uuid4().hex}"
    for kind, make in KINDS.items():
        target = make(base, 3)
        record = target.serialize()
        for name in ("content_digest", "seal"):
            record["__cpr__"].pop(name, None)
        expected = target.identity()
        del expected["content_digest"]
        old = cpr.load(record)
        assert old.identity() == expected, kind
        assert "content_digest" not in old.serialize()["__cpr__"]
        assert held(old) == held(target)


def test_a_format_whose_files_differ_each_time_counts_by_its_fingerprint():
    base = f"memory://{uuid.uuid4().hex}"
    one, other = (filled(DatedTarget.from_path(f"{base}/a.txt"), "text") for _ in range(2))
    before = one.identity()
    assert before == other.identity() == other.persist().identity() == one.persist().identity()
    assert cpr.load(one.serialize()).identity() == before and one.checksum != other.checksum
    assert one.get_data() == other.get_data() == "text"


def forged(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one `data_hash`, by arithmetic.

    xxh3 adds the 8 bytes of a lane to one accumulator, and to another the product of their halves after XOR
    with a secret that is in its source (https://github.com/Cyan4973/xxHash, XXH3_kSecret). Where the low half
    equals the secret the product is 0, and the high halves of two lanes may be anything of one sum.
    """
    size = int(np.prod(shape))
    first = np.random.default_rng(0).integers(0, 256, size).astype("uint8")
    head = len(f"uint8,{shape},")
    second = first.copy()
    for stripe, secret, high in ((4, "cb79e64e", (1000, 5000)), (5, "825ad07d", (7000, 3000))):
        at = 64 * stripe - head
        for one, value in zip((first, second), high, strict=True):
            one[at : at + 4] = list(bytes.fromhex(secret))
            one[at + 4 : at + 8] = list(value.to_bytes(4, "little"))
    return first.reshape(shape), second.reshape(shape)


@pytest.mark.parametrize(("cls", "name"), [(cpr.NumpyTarget, "a.npy"), (cpr.ImageTarget, "a.tif")])
def test_two_arrays_that_were_made_to_collide(cls, name, algorithm):
    base = f"memory://{uuid.uuid4().hex}"
    first, second = forged((64, 128))
    assert hash_array(first) == hash_array(second) and not np.array_equal(first, second)
    one, other = (filled(cls.from_path(f"{base}/{name}"), data) for data in (first, second))
    assert cpr.hash_objects(one) != cpr.hash_objects(other)
    records = [target.serialize() for target in (one, other)]
    assert one.url != other.url
    for record, data in zip(records, (first, second), strict=True):
        assert np.array_equal(cpr.load(record).get_data(), data)
    # Nor does the one pass for the other where it lies in its place.
    with io.reading(other.url) as file:
        there = file.read()
    with io.writing(one.url) as file:
        file.write(there)
    with pytest.raises(CorruptDataError):
        cpr.load(records[0]).get_data()


class Settings:
    """An object of a class of one's own."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask


def reader_of(data: np.ndarray):
    """A function that reads an array of its closure."""
    return lambda: data.sum()


ARGUMENTS = {
    "array": lambda data: data,
    "other layout": lambda data: np.asfortranarray(data),
    "other byte order": lambda data: data.ravel().view(">u2"),
    "times": lambda data: data.ravel().view("M8[s]"),
    "scalar": lambda data: data.ravel().view(f"V{data.size}")[0],
    "masked": lambda data: np.ma.array(data, mask=data == 7),
    "mask": lambda data: np.ma.array(np.zeros(data.size * 8), mask=np.unpackbits(data.ravel())),
    "in containers": lambda data: {"a": [(data,)]},
    "column": lambda data: pd.DataFrame({"a": data.ravel()}),
    "series": lambda data: pd.Series(data.ravel()),
    "index": lambda data: pd.Index(data.ravel()),
    "attribute": Settings,
    "closure": reader_of,
}


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"], indirect=True)
@pytest.mark.parametrize("kind", ARGUMENTS)
def test_nor_do_arrays_in_memory(kind, algorithm, weak):
    """Whose pixels a stranger may have chosen: all that is hashed has one `data_hash` here."""
    make = ARGUMENTS[kind]
    first, second = forged((64, 128))
    keys = [cpr.hash_objects(make(data)) for data in (first, second, first.copy())]
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("algorithm", ["sha256"], indirect=True)
def test_nor_do_those_that_were_made_to(algorithm):
    for shape in ((64, 128), (8192,)):
        first, second = forged(shape)
        assert hash_array(first) == hash_array(second)
        assert cpr.hash_objects(first) != cpr.hash_objects(second)
    assert cpr.hash_objects(pd.DataFrame({"a": first})) != cpr.hash_objects(pd.DataFrame({"a": second}))


@pytest.mark.parametrize("algorithm", ["xxh3_128", "sha256"], indirect=True)
@pytest.mark.slow
@pytest.mark.xdist_group("prefect")
def test_in_a_flow(algorithm, prefect_server, results, tmp_path):
    """What was computed from the one is not given for the other, nor for one that lies where it lay."""
    prefect = pytest.importorskip("prefect")
    ran = []

    @cpr.task
    def measure(values: list[int]) -> cpr.NumpyTarget:
        return filled(cpr.NumpyTarget.from_path(f"{tmp_path}/a.npy"), forged((64, 128))[values[0]])

    @cpr.task
    def total(of: cpr.NumpyTarget) -> int:
        ran.append(1)
        return zlib.crc32(of.get_data())

    @prefect.flow
    def totals(order: list[int]) -> list[int]:
        return [total(measure([n])) for n in order]

    expected = [zlib.crc32(data) for data in forged((64, 128))]
    assert expected[0] != expected[1]
    assert totals([0, 1]) == expected and len(ran) == 2
    assert totals([0, 1]) == expected and len(ran) == 2
    for path in tmp_path.glob("a-*"):
        path.unlink()
    assert totals([1, 0]) == expected[::-1] and len(ran) == 2
