"""What belongs to one sample, by lineage."""

from __future__ import annotations

import random

import pytest

from cpr.provenance.group_by_source import OF_SEVERAL, sample_name, samples

R1, R2 = ("r1",), ("r2",)
# What each result was made of, and its sample.
CASES = {
    "a chain": {"d": (["r1"], R1), "m": (["d"], R1), "t": (["m", "d"], R1)},
    "a flat field of all": {
        "m1": (["r1", "flat"], R1),
        "m2": (["r2", "flat"], R2),
        "all": (["m1", "m2"], OF_SEVERAL),
    },
    "a flat field that a task has smoothed": {
        "f": (["flat"], ("flat",)),
        "m1": (["r1", "f"], R1),
        "m2": (["r2", "f"], R2),
        "all": (["m1", "m2"], OF_SEVERAL),
    },
    "files of two channels": {
        "a": (["a1", "a2"], ("a1", "a2")),
        "t": (["a"], ("a1", "a2")),
        "b": (["b1", "b2"], ("b1", "b2")),
        "all": (["a", "b"], OF_SEVERAL),
    },
    "files of six channels, and a flat field": {
        "a": ([*"123456", "flat"], tuple("123456")),
        "b": ([*"uvwxyz", "flat"], tuple("uvwxyz")),
        "all": (["a", "b"], OF_SEVERAL),
    },
    "pairs that are compared": {
        "d1": (["r1"], R1),
        "d2": (["r2"], R2),
        "d3": (["r3"], ("r3",)),
        **{f"{a}{b}": ([f"d{a}", f"d{b}"], OF_SEVERAL) for a, b in ("12", "13", "23")},
    },
    "several results of one task": {f"m{at}": (["r1"], R1) for at in range(10)},
    "made from nothing": {"a": ([], ("a",)), "b": (["a"], ("a",))},
    "one image alone, and its summary": {"m": (["r1"], R1), "all": (["m"], R1)},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("seed", range(3))
def test_samples_by_lineage_in_any_order(case, seed):
    order = random.Random(seed).sample(sorted(case), len(case))
    assert samples({url: case[url][0] for url in order}) == {url: case[url][1] for url in case}


def test_records_that_claim_to_be_made_of_each_other_end():
    assert samples({"a": ["r1", "b"], "b": ["a"], "c": ["c"]}).keys() == {"a", "b", "c"}


def test_a_long_chain_and_a_summary_of_very_many():
    chain = {f"c{at}": [f"c{at - 1}"] for at in range(1, 5000)}
    many = {f"m{at}": [f"r{at}"] for at in range(1000)}
    found = samples({**chain, **many, "all": list(many)})
    assert {found[url] for url in chain} == {("c0",)}
    assert found["m7"] == ("r7",)
    assert found["all"] == OF_SEVERAL


@pytest.mark.parametrize(
    ("sources", "name"),
    [
        (["s3://bucket/raw/B03.tif"], "B03"),
        (["/data/B03.ome.zarr/"], "B03"),
        (["/data/cell-0123456789abcdef.ome.tif"], "cell"),
        (["raw/v1.2 B03.czi"], "v1.2 B03"),
        (["raw/B03_c1.tif", "raw/B03_c2.tif"], "B03"),
        (["raw/B03_DAPI.tif", "raw/B03_GFP.tif"], "B03"),
        (["raw/left.tif", "raw/right.tif"], "left and 1 more"),
        ([], "of several samples"),
    ],
)
def test_names(sources, name):
    assert sample_name(tuple(sources)) == name
