"""Other content under the same data hash: by chance, or made on purpose, for the hash is no secret."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError
from cpr.records.registry import register
from cpr.Target import Target
from tests.text_format import Text


@dataclass(frozen=True)
class Weak(Text):
    """Texts whose hash is easily forged: that of their length."""

    def fingerprint(self, data: str) -> str:
        return f"{len(data):016x}"


@register
class WeakTarget(Target):
    format_class = Weak


def target_of(text: str, base: str, **options: str) -> WeakTarget:
    target = WeakTarget.from_path(f"{base}/a.txt", **options)
    target.set_data(text)
    return target


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_url')}/{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}"


@pytest.mark.parametrize("algorithm", ["xxh3_128", "sha256", "blake3"])
def test_two_results_of_one_name_neither_overwrite_nor_answer_for_each_other(base, algorithm, monkeypatch):
    if algorithm == "blake3":
        pytest.importorskip("blake3")
    monkeypatch.setenv("CPR_CHECKSUM", algorithm)
    records = {text: target_of(text, base).serialize() for text in ("healthy", "ill....", "unknown")}
    assert len({cpr.load(record).url for record in records.values()}) == 3
    for text, record in records.items():
        assert cpr.load(record).get_data() == text
    again = target_of("healthy", base).persist()
    assert again.url == cpr.load(records["healthy"]).url  # an equal one meets it all the same


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
def test_a_checksum_against_forgers_is_not_overruled(base, algorithm, monkeypatch):
    if algorithm == "blake3":
        pytest.importorskip("blake3")
    monkeypatch.setenv("CPR_CHECKSUM", algorithm)
    record = target_of("healthy", base).serialize()
    url = cpr.load(record).url
    with io.writing(url) as file:
        file.write(b"ill....")
    monkeypatch.delenv("CPR_CHECKSUM")  # what the record says counts
    for read in (lambda: cpr.load(record).get_data(), lambda: cpr.load(record).check(full=True)):
        with pytest.raises(CorruptDataError) as caught:
            read()
        assert caught.value.expected.startswith(algorithm)


def test_a_damaged_object_is_repaired_under_its_name(base):
    target = target_of("healthy", base).persist()
    for bad in (b"healt", b"\xff" * 7, b""):
        with io.writing(target.url) as file:
            file.write(bad)
        again = target_of("healthy", base).persist()
        assert (again.url, again.get_data()) == (target.url, "healthy")
