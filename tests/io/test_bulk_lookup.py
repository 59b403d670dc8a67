"""Many objects looked up by listings: what is told is what HEADs tell, in few requests, and nothing else."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from cpr import io
from cpr.errors import CorruptDataError, ResourceNotFoundError
from cpr.io import bulk_lookup
from cpr.io.objects import open_store
from cpr.prefect.serializer import CprSerializer
from tests.faults.conftest import proxy, running_proxy  # noqa: F401 - fixtures
from tests.text_format import TextTarget

# In an order of their own: S3 lists by bytes of UTF-8, folders among objects.
ODD = ["a b", "a+b", "a%20b", "Ä", "z\U0001f600", "z\uffee", "~", "-", "a", "a.b", "é", "é"]


def put(url: str, names: list[str]) -> None:
    store, _ = open_store(url)

    def one(name: str) -> None:
        upload = store.upload(open_store(f"{url}/{name}")[1])
        upload.write(memoryview(name.encode()))
        upload.commit()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, names))


@pytest.fixture(params=[pytest.param("s3", marks=pytest.mark.s3), "gs"])
def place(request):
    return request.getfixturevalue(f"{request.param}_url")


@pytest.mark.parametrize("page", [1, 3, 1000])
def test_listings_tell_what_heads_tell(place, page, monkeypatch):
    names = [f"{i:03}" for i in range(40)] + ODD
    put(place, [*names, "005/below", "a/below", "z/z"])
    store, _ = open_store(place)
    whole = type(store).page_after

    def short(self, path, name):
        """Pages of a few lines, whatever the store's have."""
        objects, last = whole(self, path, name)
        few = dict(sorted(objects.items())[:page])
        return few, (max(few, default=None) if len(few) < len(objects) else last)

    monkeypatch.setattr(type(store), "page_after", short)
    monkeypatch.setattr(bulk_lookup, "_LEAST_A_PAGE", 1)
    monkeypatch.setattr(bulk_lookup, "_RUN", 7)
    gone = [f"{place}/{name}" for name in ("0055", "gone", "b", "\U0010ffff")]
    urls = [f"{place}/{name}" for name in names]
    found = io.listed([*urls, *gone])
    heads = {url: io.lookup(url) for url in urls}
    # A short page may hold what nobody has asked for, and no more: HEADs do the rest.
    assert len(found) > 20
    assert found.keys() <= heads.keys() if page < 1000 else found.keys() == heads.keys()
    assert {url: (stat.nbytes, stat.version) for url, stat in found.items()} == {
        url: (heads[url].nbytes, heads[url].version) for url in found
    }


@pytest.mark.s3
@pytest.mark.slow
def test_many_take_few_requests(proxy, s3_url):  # noqa: F811
    names = [f"{i:04}" for i in range(1100)]
    put(s3_url, names)
    proxy.clear()
    found = io.listed(f"{s3_url}/{name}" for name in names)
    assert [found[f"{s3_url}/{name}"].nbytes for name in names] == [4] * 1100
    assert proxy.kinds == ["list"] * 2

    # Few among many others: one page says so, each of them is asked for.
    proxy.clear()
    assert len(io.listed(f"{s3_url}/{i:04}" for i in range(0, 1100, 150))) == 7
    assert len(proxy.kinds) == 1
    proxy.clear()
    assert io.listed([f"{s3_url}/0000", f"{s3_url}/0001"]) == {}
    assert proxy.kinds == []


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["403", lambda _: b"<html>welcome</html>"])
def test_a_store_that_does_not_list_is_asked_for_each(proxy, s3_url, fault):  # noqa: F811
    targets = [TextTarget.from_path(f"{s3_url}/{i}.txt") for i in range(20)]
    for number, target in enumerate(targets):
        target.set_data(str(number))
    serializer = CprSerializer()
    blob = serializer.dumps(targets)
    proxy.plan(lambda _, kind: fault if kind == "list" else None)
    assert len(serializer.loads(blob)) == 20
    assert proxy.kinds.count("head") == 20


@pytest.mark.s3
@pytest.mark.parametrize("change", ["gone", "longer", "shorter"])
def test_a_hit_is_as_strict_as_heads_are(proxy, s3_url, change):  # noqa: F811
    """Of thirty results one has another size, or is not there."""
    targets = [TextTarget.from_path(f"{s3_url}/{i}.txt") for i in range(30)]
    for number, target in enumerate(targets):
        target.set_data(str(number))
    serializer = CprSerializer()
    blob = serializer.dumps(targets)
    proxy.clear()
    assert len(serializer.loads(blob)) == 30
    assert "head" not in proxy.kinds
    assert len(proxy.kinds) <= 3
    url = random.Random(change).choice(targets).url
    if change == "gone":
        io.remove(url)
    else:
        with io.writing(url) as file:
            file.write(b"" if change == "shorter" else b"some more")
    with pytest.raises((CorruptDataError, ResourceNotFoundError), match=re.escape(url)):
        serializer.loads(blob)
