"""Results of one name, found among many: the one that is meant, in a time in proportion to their number."""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime

import pytest

from cpr.operations import lineage, resolve_references
from cpr.operations.ls import list_results
from cpr.operations.records import Reference
from cpr.operations.resolve_references import Namesakes
from cpr.operations.result import Result
from cpr.provenance.provenance_record import Input

DIGESTS = ["0" * 16, "1" * 16]


def result(url: str, digest: str) -> Result:
    folder, _, file = url.rpartition("/")
    fields = {"type": "NumpyTarget", "location": folder, "name": file, "ext": "", "data_hash": digest}
    return Result(Reference(fields), "record", datetime.now(UTC), False)


def one_by_one(known: dict[str, Result], given: Input) -> str | None:
    """What is meant, by looking at each of them."""
    if given.url in known:
        return given.url
    same = [url for url in known if resolve_references.last_of(url) == resolve_references.last_of(given.url)]
    if len(same) > 1:
        same = [url for url in same if known[url].reference.fields["data_hash"] == given.digest]

    def in_common(url: str) -> int:
        steps = list(zip(url.split("/")[::-1], given.url.split("/")[::-1], strict=False))
        return next((n for n, (mine, theirs) in enumerate(steps) if mine != theirs), len(steps))

    return max(same, key=in_common, default=None)


@pytest.mark.parametrize("seed", range(30))
def test_the_one_whose_folder_is_most_like_that_which_was_given(seed):
    chance = random.Random(seed)

    def url() -> str:
        steps = [chance.choice("abc") for _ in range(chance.randint(0, 5))]
        return "/".join([chance.choice(["s3://x", "gs://y"]), *steps, chance.choice(["n", "m", "only/one"])])

    named, known = Namesakes(), {}
    for _ in range(6):
        more = {place: result(place, chance.choice(DIGESTS)) for place in (url() for _ in range(20))}
        named.add(more)
        known.update(more)
        for _ in range(40):
            given = Input("NumpyTarget", digest=chance.choice(DIGESTS), url=url())
            assert named.find(given) == one_by_one(known, given)


def steps_of(call) -> int:
    """How many lines of cpr's own run."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if "/cpr/" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def copies(folder, count: int) -> str:
    """Records of as many results of one name, each made of another one, as it was called elsewhere."""
    folder.mkdir()
    for number in range(count):
        given = f"NumpyTarget {'0' * 16} s3://other/{(number + 1) % count}/n-{'0' * 16}.npy"
        fields = {
            "type": "NumpyTarget", "location": f"s3://bucket/data/{number}", "name": "n", "ext": ".npy",
            "key": "0" * 16, "data_hash": "0" * 16, "checksum": "xxh3_128:" + "0" * 32, "nbytes": 10,
            "made": {"task": "t", "inputs": {"x": given}},
        }  # fmt: skip
        (folder / f"{number:032x}").write_text(json.dumps({"__cpr__": fields}))
    return str(folder)


@pytest.mark.parametrize("call", [lineage.trace, list_results], ids=["lineage", "ls"])
def test_many_of_one_name_take_a_time_in_proportion(call, tmp_path):
    call(copies(tmp_path / "first", 10))
    few = steps_of(lambda: call(copies(tmp_path / "few", 60)))
    many = steps_of(lambda: call(copies(tmp_path / "many", 240)))
    assert few > 1000
    assert many < 6 * few
