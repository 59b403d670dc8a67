"""A manifest of which anything is wrong is never what something else is made of."""

from __future__ import annotations

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError
from cpr.zarr.stores.manifest import Manifest
from tests.zarr.zarr_cases import require_whole_results

DATA = np.random.default_rng(0).integers(0, 60_000, (4, 32, 64)).astype("uint16")
KINDS = {
    "chunks": {"chunks": (1, 32, 64)},
    "shards": {"chunks": (1, 16, 16), "shards": (1, 32, 64), "compressors": None},
}


def written(url, kind):
    target = cpr.ZarrTarget.from_path(f"{url}/cells.zarr", base=False, **KINDS[kind])
    target.set_data(DATA)
    return target.persist()


@pytest.mark.parametrize("algorithm", ["xxh3_128", "sha256"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_changed_byte_is_found(kind, algorithm, tmp_path, monkeypatch):
    monkeypatch.setenv("CPR_CHECKSUM", algorithm)
    target = written(str(tmp_path), kind)
    with io.reading(target.place) as file:
        good = file.read()
    known = (target.url, len(good), target.checksum)
    assert len(Manifest(*known, good).entries()) == len(DATA) + 1
    Manifest(*known, good).require_whole()
    dice = np.random.default_rng(1)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= int(dice.integers(1, 256))
        for ask in (Manifest.entries, Manifest.require_whole):
            with pytest.raises(CorruptDataError):
                ask(Manifest(*known, bytes(bad)))


def copy(url, kind):
    record = written(f"{url}/first", kind).serialize()
    return lambda place: cpr.load(record).copy_to(place)


def assemble(url, kind):
    """Of parts that were written and handed over as records."""
    whole = cpr.ZarrTarget.from_path(
        f"{url}/cells.zarr", shape=DATA.shape, dtype=DATA.dtype, base=False, **KINDS[kind]
    )
    parts = []
    for region in whole.regions((2,)):
        part = whole.part(region)
        part.set_data(DATA[region])
        parts.append(part.persist().serialize())

    def run(_place):
        again = cpr.ZarrTarget.from_path(
            f"{url}/cells.zarr", shape=DATA.shape, dtype=DATA.dtype, base=False, **KINDS[kind]
        )
        return again.assemble([cpr.load(part) for part in parts]).persist()

    return run


@pytest.mark.real_s3
@pytest.mark.parametrize("where", [0.02, 0.5, 0.7])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [copy, assemble])
def test_nothing_is_made_of_an_answer_that_was_damaged(make, kind, where, proxy, s3_url):
    """Whichever of the answers it is, also where the same manifest was found whole before."""
    told = 0
    for number in range(1, 12):
        base = f"{s3_url}/{number}"
        run, arrived = make(base, kind), []

        def damage(body, number=number, arrived=arrived):
            if b"cpr manifest 1" not in body:
                return body
            arrived.append(1)
            if len(arrived) != number:
                return body
            at = int(where * len(body))
            return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]

        proxy.plan(lambda _number, kind, damage=damage: damage if kind == "get" else None)
        try:
            run(f"{base}/copy")
        except CorruptDataError:
            told += 1
        proxy.clear()
        require_whole_results(base)
        run(f"{base}/copy").verify()
        if len(arrived) < number:
            break
    else:
        pytest.fail("it never ends to ask for the manifest")
    assert told
