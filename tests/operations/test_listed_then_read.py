"""Records that change between the listing of a folder and the moment at which they are read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.synthetic import records
from cpr import io
from cpr.errors import RecordError, TransferError
from cpr.operations import catalogue, lineage
from cpr.operations.find import Result, find_results
from cpr.operations.lineage import trace
from cpr.operations.ls import list_results
from cpr.operations.result_filter import ResultFilter
from tests.stored_flow import get, put

pytest.importorskip("pyarrow")

from cpr.operations.catalogue import listing_columns
from cpr.operations.catalogue.catalogue_results import CatalogueResults

_COUNT = 130


@pytest.fixture(autouse=True)
def _files_are_many_and_settled(monkeypatch):
    monkeypatch.setattr(catalogue, "_FEW", 1)
    monkeypatch.setattr(listing_columns, "_SETTLED_SECONDS", -3600.0)


def _place(request, store: str) -> str:
    """A folder of records, of which a catalogue was made where the store tells versions."""
    if store == "s3":
        url = request.getfixturevalue("s3_url") + "/results"
    else:
        url = f"{request.getfixturevalue('tmp_path')}/results"
        url = url if store == "local" else f"memory:/{url}"
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda one: put(f"{url}/{one[0]}", one[1]), records(_COUNT, f"{url}/data")))
    list_results(url)
    return url


def _cut(url: str) -> None:
    put(url, get(url)[:-40])


def _other_fields(url: str) -> None:
    put(url, get(url).replace(b"ImageTarget", b"PictureTarget").replace(b"cell-", b"../-"))


def _text(url: str) -> None:
    put(url, b"<html>Sign in</html>")


def _long_text(url: str) -> None:
    put(url, b"<html>Sign in</html>" * 1000)


def _empty(url: str) -> None:
    put(url, b"")


def _json(url: str) -> None:
    put(url, b'{"metadata": {}}')


def _link_to_itself(url: str) -> None:
    os.unlink(url)
    os.symlink(os.path.basename(url), url)


def _pipe(url: str) -> None:
    os.unlink(url)
    os.mkfifo(url)


_DAMAGES = {
    "cut": _cut,
    "a bad name": _other_fields,
    "a text": _text,
    "a longer text": _long_text,
    "empty": _empty,
    "other JSON": _json,
    "a link to itself": _link_to_itself,
    "a pipe": _pipe,
}
_ASKED = {
    "all": lambda found, one: found.all(),
    "called": lambda found, one: found.called("cell"),
    "called so": lambda found, one: found.called(one.reference.file_name),
    "named": lambda found, one: found.named({one.reference.file_name}),
    "beside": lambda found, one: found.beside(ResultFilter(task=one.reference.made.task)),
    "in records": lambda found, one: found.in_records({io.split(one.record)[1]}),
    "near": lambda found, one: found.near(one.reference.made),
}


_STORES = ["local", "memory", pytest.param("s3", marks=pytest.mark.s3)]
_LOCAL_ALONE = ("a link to itself", "a pipe")
_CASES = [
    *(("local", damage, asked) for damage in _DAMAGES for asked in _ASKED),
    *(
        pytest.param(store, damage, "all", marks=[pytest.mark.s3] if store == "s3" else [])
        for store in ("memory", "s3")
        for damage in _DAMAGES
        if damage not in _LOCAL_ALONE
    ),
]


def _last(found: CatalogueResults) -> Result:
    """The last of those that all have been made from the same source, so that some are near it."""
    return [one for one in found.all() if one.reference.made.task == "denoise"][-1]


@pytest.mark.parametrize(("store", "damage", "asked"), _CASES)
def test_a_record_that_goes_bad_after_the_listing_is_told_once(request, store, damage, asked):
    place, ask = _place(request, store), _ASKED[asked]
    found = CatalogueResults(place, lambda **_: None)
    told = found.problems  # who asks early has this list
    last = _last(found)
    one = ask(found, last)[-1]
    expected = [other for other in ask(found, last) if other.record != one.record]
    assert not told
    _DAMAGES[damage](one.record)
    for _ in range(2):
        assert ask(found, last) == expected
    assert [problem.url for problem in told] == [one.record]
    assert isinstance(told[0], (RecordError, TransferError))
    assert "Remedy" in str(told[0])
    assert "\n" not in str(told[0])
    assert found.problems is told
    # What else is asked of it tells nothing twice.
    assert len(found.all()) == found.count - 1
    assert len(told) == 1


@pytest.mark.parametrize("asked", ["all", "near"])
@pytest.mark.parametrize("store", _STORES)
def test_a_record_that_was_deleted_after_the_listing_is_absent(request, store, asked):
    place, ask = _place(request, store), _ASKED[asked]
    found = CatalogueResults(place, lambda **_: None)
    last = _last(found)
    one = ask(found, last)[-1]
    expected = [other for other in ask(found, last) if other.record != one.record]
    io.remove(one.record)
    assert ask(found, last) == expected
    assert not found.problems


@pytest.mark.parametrize("store", _STORES)
def test_a_record_that_was_replaced_by_another_is_read(request, store):
    place = _place(request, store)
    found = CatalogueResults(place, lambda **_: None)
    first, *_, last = found.all()
    content = get(last.record)
    put(first.record, content)
    assert {one.record for one in found.called(last.url)} <= {first.record, last.record}
    again = [one.url for one in found.in_records({io.split(first.record)[1]})]
    assert again == [last.url]
    assert not found.problems


def test_a_command_tells_of_a_record_that_goes_bad_while_it_runs(tmp_path, monkeypatch):
    """The commands that look at `problems` before they have read anything, in the middle of their work."""
    url = str(tmp_path)
    for name, content in records(_COUNT, f"{url}/data"):
        (tmp_path / name).write_bytes(content)
    bad = Path(find_results(url).all()[-1].record)

    def listed_then_damaged(*args):
        found = find_results(*args)
        bad.write_bytes(bad.read_bytes()[:-9])
        return found

    monkeypatch.setattr(lineage, "find_results", listed_then_damaged)
    assert [problem.url for problem in trace(url).problems] == [str(bad)]
