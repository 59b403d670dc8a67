"""Parts of results without digests of their blocks, small ones and others, when an answer arrives wrong."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError
from cpr.io.block_digests import blocks_url

pytestmark = pytest.mark.s3

DAMAGES = 30
REGION = np.s_[1:3, 20:90]
KINDS = {
    "npy": lambda: (cpr.NumpyTarget, ".npy", {}),
    "tiff, not compressed": lambda: (cpr.ImageTarget, ".tif", {"compression": None}),
    "tiff": lambda: (cpr.ImageTarget, ".tif", {}),
}


def written(kind: str, base: str, rows: int):
    cls, ext, options = KINDS[kind]()
    data = np.random.default_rng(1).integers(0, 60000, (4, rows, 100)).astype("uint16")
    target = cls.from_path(f"{base}/a{ext}", **options)
    target.set_data(data)
    return target.persist(), data


@pytest.mark.parametrize("rows", [100, 2000], ids=["small", "without its digests"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_wrong_answer_gives_no_wrong_part(kind, rows, proxy, s3_url):
    """Though the next answer is right: what it shows is not true of the one before."""
    target, data = written(kind, s3_url, rows)
    if target.blocks is not None:
        io.remove(blocks_url(target.url))
    dice = np.random.default_rng(rows)
    ends: Counter[str] = Counter()
    for _ in range(DAMAGES):
        share, bit = float(dice.random()), 1 << int(dice.integers(8))
        hit = False

        def flip(body: bytes, share=share, bit=bit) -> bytes:
            nonlocal hit
            if hit or len(body) < target.nbytes / 2:  # of what is asked for first
                return body
            hit = True
            at = int(share * len(body))
            return body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]

        proxy.plan(lambda number, kind, flip=flip: flip if kind == "get" else None)
        try:
            found = cpr.load(target.serialize()).get_data(region=REGION)
        except CorruptDataError:
            ends["found out"] += 1
        else:
            assert np.array_equal(found, data[REGION]), "a part that is wrong came back"
            ends["right"] += 1
        assert hit
    assert ends["found out"] > DAMAGES / 2, ends


def test_other_bytes_of_equal_content_are_read(s3_url):
    """What is asked for twice is then the same twice."""
    target, data = written("tiff", s3_url, 100)
    again = cpr.ImageTarget.from_path(f"{s3_url}/b.tif", compression=None)
    again.set_data(data)
    with io.reading(again.persist().url) as file:
        other = file.read()
    with io.writing(target.url) as file:
        file.write(other)
    assert np.array_equal(cpr.load(target.serialize()).get_data(region=REGION), data[REGION])
