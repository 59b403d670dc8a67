"""Targets compared with what their stores say of them: what that finds, and that it says what it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.cli.app import run
from cpr.io.block_digests import BLOCK_BYTES, blocks_url, with_store_checksum
from cpr.io.clients.s3_checksums import WHOLE_OBJECT
from cpr.io.hashing import digest_bytes
from cpr.operations.verify import heal, verify
from tests.stored_flow import get, prefect_record, put, store

MIB = 1 << 20
DATA = np.random.default_rng(0).integers(0, 256, 12 * MIB, "uint8")


@pytest.fixture(params=[pytest.param("s3", marks=pytest.mark.real_s3), "gs"])
def place(request) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def stored(url: str) -> Any:
    """A target too large to be read, and its record."""
    target = cpr.NumpyTarget.from_path(f"{url}/large.npy")
    target.set_data(DATA)
    put(f"{url}/records/{1:032x}", prefect_record(target.serialize(), storage_key="1"))
    return target


def test_large_objects_are_asked_about_and_small_ones_read(place):
    done = store(place, ("small", "chunks"))
    target = stored(place)
    report = verify(place, by_store=True)
    assert (report.targets, report.intact, report.by_store) == (3, 2, 1)
    assert report.nbytes == done.targets["small"].nbytes
    (zarr,) = report.wrong
    assert (zarr.url, zarr.state) == (done.targets["chunks"].url, "not checked")
    assert "cpr verify without --by-store" in zarr.error.remedy
    with io.verified(target.url, target.nbytes, target.blocks) as parts:
        parts.check_digests()


def cut(url: str) -> None:
    overwrite(url, get(url)[:-1])


def replace(url: str) -> None:
    overwrite(url, get(url)[::-1])


def overwrite(url: str, data: bytes) -> None:
    """Put something else there, and leave what lies beside it."""
    digests = get(blocks_url(url))
    put(url, data)
    put(blocks_url(url), digests)


DAMAGE: dict[str, tuple[Callable[[str], None], str]] = {
    "cut": (cut, "damaged"),
    "replaced": (replace, "damaged"),
    "deleted": (io.remove, "missing"),
    "digests deleted": (lambda url: io.remove(blocks_url(url)), "not checked"),
    "note flipped": (lambda url: put(blocks_url(url), get(blocks_url(url))[:-1] + b"?"), "not checked"),
    "note cut": (lambda url: put(blocks_url(url), get(blocks_url(url))[:-20]), "not checked"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_found(place, name):
    damage, state = DAMAGE[name]
    target = stored(place)
    damage(target.url)
    report = verify(place, by_store=True)
    assert [(one.url, one.state) for one in report.wrong] == [(target.url, state)]
    assert report.nbytes == 0
    assert len(heal(place, report)) == (state != "not checked")


def forge(target: Any) -> None:
    """Another object of the same size under the name, and a note that says what the store tells of it."""
    count = -(-target.nbytes // BLOCK_BYTES) + 1
    digests = get(blocks_url(target.url))[: count * digest_bytes(target.blocks.partition(":")[0])]
    other = cpr.NumpyTarget.from_path(f"{io.split(target.url)[0]}/other.npy")
    other.set_data(DATA[::-1])
    put(target.url, get(other.persist().url))
    note = io.store_checksum(target.url)[1]
    put(blocks_url(target.url), with_store_checksum(digests, target.blocks, note))


@pytest.mark.parametrize("algorithm", ["sha256", "blake3"])
def test_it_vouches_for_nothing_that_is_to_stand_against_forgers(place, algorithm, monkeypatch, capsys):
    if algorithm == "blake3":
        pytest.importorskip("blake3")
    monkeypatch.setenv("CPR_CHECKSUM", algorithm)
    target = stored(place)
    for forged in (False, True):
        if forged:
            forge(target)
        report = verify(place, by_store=True)
        assert (report.intact, [one.state for one in report.wrong]) == (0, ["not checked"])
        assert algorithm in str(report.wrong[0].error)
        assert run(["verify", place, "--by-store"]) == 3
    assert [one.state for one in verify(place).wrong] == ["damaged"]
    io.remove(target.url)
    assert [one.state for one in verify(place, by_store=True).wrong] == ["missing"]


@pytest.mark.real_s3
def test_what_others_put_there_without_the_checksum_is_read(s3_server, s3_url):
    target = stored(s3_url)
    bucket, _, key = target.url.removeprefix("s3://").partition("/")
    s3_server.client().put_object(Bucket=bucket, Key=key, Body=get(target.url))
    report = verify(s3_url, by_store=True)
    assert (report.intact, report.by_store, report.nbytes) == (1, 0, target.nbytes)
    s3_server.client().put_object(Bucket=bucket, Key=key, Body=get(target.url)[::-1])
    assert [one.state for one in verify(s3_url, by_store=True).wrong] == ["damaged"]


@pytest.mark.real_s3
def test_what_the_store_says_is_of_all_bytes(s3_server, s3_url):
    """Whatever the parts were that others have put it there in."""
    target = stored(s3_url)
    client, data = s3_server.client(), get(target.url)
    bucket, _, key = target.url.removeprefix("s3://").partition("/")
    where = {"Bucket": bucket, "Key": key}
    upload = client.create_multipart_upload(**where, **WHOLE_OBJECT)["UploadId"]
    parts = []
    for number, part in enumerate((data[: 7 * MIB], data[7 * MIB :]), 1):
        answer = client.upload_part(
            **where, UploadId=upload, PartNumber=number, Body=part, ChecksumAlgorithm="CRC64NVME"
        )
        told = {name: answer[name] for name in ("ETag", "ChecksumCRC64NVME")}
        parts.append({"PartNumber": number, **told})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    report = verify(s3_url, by_store=True)
    assert (report.intact, report.by_store) == (1, 1)


def test_storing_the_same_again_keeps_the_note(place):
    first = stored(place)
    again = cpr.NumpyTarget.from_path(f"{place}/large.npy")
    again.set_data(DATA)
    again.persist()
    assert again.url == first.url
    assert verify(place, by_store=True).by_store == 1


def test_copies_have_notes_of_their_own(place, tmp_path):
    target = stored(place)
    local = target.copy_to(str(tmp_path))
    back = local.copy_to(f"{place}/back")
    assert io.kept_store_checksum(local.url, local.nbytes, local.blocks) is None
    assert io.kept_store_checksum(back.url, back.nbytes, back.blocks) == io.store_checksum(back.url)[1]


def test_a_store_without_checksums_vouches_for_nothing(tmp_path):
    stored(str(tmp_path))
    report = verify(str(tmp_path), by_store=True)
    assert (report.intact, [one.state for one in report.wrong]) == (0, ["not checked"])
    assert "keeps no checksums" in report.wrong[0].error.actual


@pytest.mark.real_s3
def test_the_command_says_what_it_proves(s3_url, tmp_path, capsys):
    stored(s3_url)
    assert run(["verify", s3_url, "--by-store"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1 target intact of 1, 0 B" in out
    assert "not what has decayed on its disks" in out
    stored(str(tmp_path))
    assert run(["verify", str(tmp_path), "--by-store"]) == 3
    assert "could not be checked" in capsys.readouterr().out
