"""Names of a listing are opened as each would be alone, whatever store the first of them has opened."""

from __future__ import annotations

import random

import pytest

from cpr.io.objects import open_store
from cpr.operations.scan import _Reader
from tests.servers.environment import every_store_at

CHARACTERS = "abc012-_.?#%@:&=+ äü/\\[]{}~^|*\n\t\u202e\x1b"
KNOWN = (
    "a?token=x",
    "a?sig=1&x=2",
    "user:pass@h",
    "a%2Fb",
    "..",
    "a//b",
    "x#frag?key=s",
    "A" * 200,
    "ä.b",
    "a b",
)


def outcome(opened, url):
    try:
        store, path = opened(url)
    except Exception as error:
        return type(error)
    return type(store), path


@pytest.mark.parametrize("base", ["s3://bucket/run 1", "gs://bucket/r", "memory://doc/r", "/data/some/r"])
def test_every_name_is_opened_as_it_would_be_alone(base):
    dice = random.Random(base)
    made = ["".join(dice.choices(CHARACTERS, k=dice.randint(1, 12))) for _ in range(1000)]
    with every_store_at("http://127.0.0.1:9"):  # nothing is asked
        reader = _Reader(base, set())
        reader._open(f"{base}/first")
        for name in (*KNOWN, *made):
            url = f"{base}/{name}"
            assert outcome(reader._open, url) == outcome(open_store, url), name
