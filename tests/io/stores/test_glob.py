"""Globs on any backend: what fsspec's own finds, and no listing that fails unnoticed."""

from __future__ import annotations

import uuid

import pytest

from cpr import io
from cpr.errors import TransferError
from cpr.io.filesystems import filesystem
from cpr.io.objects import open_store
from tests.servers.sftp import FORBIDDEN

KEYS = [
    "a.txt",
    "b.txt",
    "b.tif",
    "a+b [1].txt",
    "plate/A01/a.txt",
    "plate/A01/b.tif",
    "plate/B02/a.txt",
    "plate/B02/.cpr/a.txt.blocks",
    "plate/a.txt",
    "plates/A01/a.txt",
    "plate/A01/deep/er/a.txt",
]


@pytest.fixture(
    params=[
        "memory",
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("gs", marks=pytest.mark.gcs),
        pytest.param("sftp", marks=pytest.mark.sftp),
    ]
)
def base(request):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return request.getfixturevalue(f"{request.param}_url")


def write(base: str, keys: list[str]) -> None:
    for key in keys:
        with io.writing(f"{base}/{key}") as file:
            file.write(key.encode())


def names(base: str, pattern: str) -> set[str]:
    return {url.removeprefix(f"{base}/") for url in io.find(f"{base}/{pattern}")}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", {"a.txt", "b.txt", "a+b [1].txt"}),
        ("b.*", {"b.txt", "b.tif"}),
        ("?.txt", {"a.txt", "b.txt"}),
        ("[b-z].t*", {"b.txt", "b.tif"}),
        ("a.txt", {"a.txt"}),
        ("none.txt", set()),
        ("plate", set()),
        ("plate/*", {"plate/a.txt"}),
        ("plate/*/a.txt", {"plate/A01/a.txt", "plate/B02/a.txt"}),
        ("plate/?0[1-9]/*", {"plate/A01/a.txt", "plate/A01/b.tif", "plate/B02/a.txt"}),
        ("plate*/A01/a*", {"plate/A01/a.txt", "plates/A01/a.txt"}),
        ("*/*/a.txt", {"plate/A01/a.txt", "plate/B02/a.txt", "plates/A01/a.txt"}),
        ("plate/*/.cpr/*", {"plate/B02/.cpr/a.txt.blocks"}),
        ("plate/**/a.txt", {key for key in KEYS if key.startswith("plate/") and key.endswith("/a.txt")}),
        ("**", set(KEYS)),
        ("plate/A01/**", {key for key in KEYS if key.startswith("plate/A01/")}),
        ("nothing/*/here/*.txt", set()),
    ],
)
def test_patterns(base, pattern, expected):
    write(base, KEYS)
    found = io.find(f"{base}/{pattern}")
    assert {url.removeprefix(f"{base}/") for url in found} == expected
    for url, stat in found.items():
        assert stat == io.stat(url)
    fs, path = filesystem(f"{base}/{pattern}")
    globbed = fs.glob(path, detail=True)
    theirs = {key for key, info in globbed.items() if info["type"] == "file"}
    assert theirs == {filesystem(url)[1] for url in found}


def test_a_refused_listing_is_no_empty_folder(sftp_url):
    write(sftp_url, ["open/a.txt"])
    for pattern in (f"{FORBIDDEN}/*", f"{FORBIDDEN}/*/a.txt", f"open/../{FORBIDDEN}/**"):
        with pytest.raises(TransferError, match="no permission to list"):
            io.find(f"{sftp_url}/{pattern}")


def test_links_are_followed_but_not_in_circles(sftp_url, sftp_server):
    write(sftp_url, ["a/b.txt"])
    fs, path = filesystem(sftp_url)
    fs.ftp.symlink(f"{path}/a/b.txt", f"{path}/c.txt")
    fs.ftp.symlink(path, f"{path}/a/up")
    fs.ftp.symlink(f"{path}/nothing", f"{path}/dangling.txt")
    assert names(sftp_url, "*.txt") == {"c.txt"}
    assert names(sftp_url, "a/up/*.txt") == {"a/up/c.txt"}
    assert names(sftp_url, "**") == {"a/b.txt", "c.txt"}


def test_what_is_being_written_is_not_found(sftp_url):
    with io.writing(f"{sftp_url}/a.txt") as file:
        file.write(b"x" * (2 << 20))
        for pattern in ("*", "**", ".*", ".*.part"):
            assert names(sftp_url, pattern) == set()
        store, path = open_store(sftp_url)
        assert len(list(store.walk(path))) == 1
    assert names(sftp_url, "*") == {"a.txt"}
