"""What a copy publishes is what was checked, whichever of the answers that it rests on was damaged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError
from cpr.provenance.provenance_record import Input, Made

pytestmark = pytest.mark.s3

# More than a record has room for: the rest lies in an object beside the result.
MADE = Made(task="measure", inputs={f"argument {n}": Input("str", f"text {n}" * 8) for n in range(40)})
KINDS = {
    "small": (cpr.NumpyTarget, "a.npy", np.arange(300)),
    "with digests of its blocks": (cpr.NumpyTarget, "a.npy", np.arange(200_000)),
    "image": (cpr.ImageTarget, "a.tif", (np.arange(6000) % 251).reshape(2, 50, 60).astype("uint8")),
    "table": (cpr.CSVTarget, "a.csv", pd.DataFrame({"a": range(50)})),
    "parquet": (cpr.ParquetTarget, "a.parquet", pd.DataFrame({"a": range(50)})),
    "zarr": (cpr.ZarrTarget, "a.zarr", np.arange(400).reshape(20, 20)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_copy_is_made_of_an_answer_that_was_damaged(kind, proxy, s3_url):
    cls, name, data = KINDS[kind]
    target = cls.from_path(f"{s3_url}/{name}")
    target.set_data(data)
    target.set_made(MADE)
    record = target.serialize()
    assert cpr.load(record).made.more is not None
    told = 0
    for number in range(30):
        arrived = 0

        def flip(body, number=number):
            nonlocal arrived
            arrived += 1
            at = len(body) // 3
            return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] if arrived == number + 1 else body

        proxy.plan(lambda _number, kind, flip=flip: flip if kind == "get" else None)
        place = f"{s3_url}/{number}"
        try:
            copied = cpr.load(record).copy_to(place)
        except CorruptDataError:
            told += 1
            proxy.clear()
            copied = cpr.load(record).copy_to(place)  # again, it is the copy
        proxy.clear()
        copied = cpr.load(copied.serialize())
        copied.check(full=True)
        assert copied.get_made() == MADE
        if getattr(copied, "blocks", None) is not None:
            with io.verified(copied.url, copied.nbytes, copied.blocks) as file:
                assert file is not None
                file.check_digests()
        if arrived <= number:
            break
    else:
        pytest.fail("it never ends to ask")
    assert told
