"""Whatever the names in a bucket, the listing is all of them in order; even ones are asked for at once."""

from __future__ import annotations

import hashlib
import time

import obstore
import obstore.store
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpr.io.answer_checks import BadAnswerError
from cpr.io.stores import s3_listing


@pytest.fixture(autouse=True)
def _pages_are_small(monkeypatch):
    monkeypatch.setattr(s3_listing, "PAGE", 10)
    monkeypatch.setattr(s3_listing, "_RANGE_PAGES", (2, 3))
    monkeypatch.setattr(s3_listing, "_MOST", 50)
    # How long a store in memory takes is noise.
    monkeypatch.setattr(s3_listing, "_LEAST_SECONDS", 10.0)


def digest(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


def fill(keys):
    store = obstore.store.MemoryStore()
    for key in keys:
        obstore.put(store, key, key.encode())
    return store


def listed(store, folder):
    return [one.key for one in s3_listing.list_keys(store, folder, lambda: True)]


@pytest.fixture
def ranges(monkeypatch):
    """Where each request for a listing begins."""
    begun = []
    ask = obstore.list

    def counted(store, prefix=None, *, offset=None, **options):
        begun.append(offset)
        return ask(store, prefix, offset=offset, **options)

    monkeypatch.setattr(obstore, "list", counted)
    return begun


def test_names_of_digests_are_asked_for_in_ranges(ranges):
    keys = sorted(f"records/{digest(number)}" for number in range(3000))
    store = fill(["elsewhere/a", *keys, "records/.cpr/x", "records/g", "records/z/deep"])
    assert listed(store, "records") == ["records/.cpr/x", *keys, "records/g", "records/z/deep"]
    # Of a hundred expected, for the guess is made from ten names.
    assert 20 < len(ranges) < 400
    assert len(set(ranges)) == len(ranges)


def test_where_it_takes_long_to_begin_in_the_midst_all_is_listed_page_by_page(ranges, monkeypatch):
    monkeypatch.setattr(s3_listing, "_LEAST_SECONDS", 0.01)
    keys = sorted(f"records/{digest(number)}" for number in range(500))
    ask = obstore.list

    def slow(store, prefix=None, *, offset=None, **options):
        time.sleep(0.5 if offset else 0.0)
        return ask(store, prefix, offset=offset, **options)

    monkeypatch.setattr(obstore, "list", slow)
    assert listed(fill(keys), "records") == keys
    assert len(ranges) == 2


def test_a_server_that_is_known_is_asked_page_by_page(ranges):
    keys = sorted(f"records/{digest(number)}" for number in range(500))
    assert [one.key for one in s3_listing.list_keys(fill(keys), "records", lambda: False)] == keys
    assert len(ranges) == 1


COUNTERS = [f"{number:032x}" for number in range(400)]
LATE = [f"{'f' * 4}{digest(number)[4:]}" for number in range(400)]
STEPS = [f"{number * 2**20:08x}{'0' * 24}" for number in range(300)] + LATE


@pytest.mark.parametrize(
    "names",
    [COUNTERS, LATE, STEPS, [digest(n) for n in range(60)] + LATE, [f"name-{n}" for n in range(400)]],
    ids=["counters", "all at the end", "two densities", "few, then many", "no digests"],
)
def test_names_that_only_look_even_are_all_found(names, ranges):
    keys = sorted(f"records/{name}" for name in set(names))
    assert listed(fill(keys), "records") == keys
    assert len(ranges) < 600


@settings(deadline=None, max_examples=60)
@given(
    st.sets(st.integers(0, 10**6).map(digest), min_size=0, max_size=150),
    st.sets(st.text("0123456789abcdefgz.-_", min_size=1, max_size=40), max_size=60),
    st.sampled_from(["", "records", "a/b"]),
)
def test_any_names_are_found_in_order(digests, others, folder):
    names = {*digests, *(one for one in others if one not in (".", "..") and not one.startswith("."))}
    keys = sorted(f"{folder}/{name}" if folder else name for name in names)
    assert listed(fill(keys), folder) == keys


def test_a_store_that_does_not_heed_where_to_begin_is_no_listing(monkeypatch):
    keys = sorted(f"records/{digest(number)}" for number in range(500))
    ask = obstore.list
    monkeypatch.setattr(
        obstore, "list", lambda store, prefix=None, *, offset=None, **options: ask(store, prefix, **options)
    )
    found = []
    with pytest.raises(BadAnswerError):
        found.extend(one.key for one in s3_listing.list_keys(fill(keys), "records", lambda: True))
    assert found == keys[: len(found)]
