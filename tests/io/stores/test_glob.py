"""Globs mean the same on any backend, and no listing fails unnoticed."""

from __future__ import annotations

import glob
import itertools
import os
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpr import io
from cpr.errors import CprError, TransferError
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
    ".hidden.txt",
    "plate/.hidden/a.txt",
]
SEEN = {key for key in KEYS if "/." not in f"/{key}"}


@pytest.fixture(
    params=[
        "memory",
        "local",
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("gs", marks=pytest.mark.gcs),
        pytest.param("sftp", marks=pytest.mark.sftp),
    ]
)
def base(request):
    if request.param == "local":
        return str(request.getfixturevalue("tmp_path"))
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
        ("plate/**/a.txt", {key for key in SEEN if key.startswith("plate/") and key.endswith("/a.txt")}),
        ("**", SEEN),
        ("**.txt", {"a.txt", "b.txt", "a+b [1].txt"}),
        ("plate/A01/**", {key for key in SEEN if key.startswith("plate/A01/")}),
        (".*", {".hidden.txt"}),
        (".h*.txt", {".hidden.txt"}),
        ("*hidden.txt", set()),
        ("?hidden.txt", set()),
        ("[.]hidden.txt", set()),
        (".hidden.txt", {".hidden.txt"}),
        ("plate/.*/a.txt", {"plate/.hidden/a.txt"}),
        ("plate/.hidden/*", {"plate/.hidden/a.txt"}),
        ("[[]*", set()),
        ("a+b [[]1].txt", {"a+b [1].txt"}),
        ("[!a].txt", {"b.txt"}),
        ("[]a].txt", {"a.txt"}),
        ("nothing/*/here/*.txt", set()),
    ],
)
def test_patterns(base, pattern, expected):
    write(base, KEYS)
    found = io.find(f"{base}/{pattern}")
    assert {url.removeprefix(f"{base}/") for url in found} == expected
    for url, stat in found.items():
        assert stat == io.stat(url)


def test_hidden_names_are_found_when_they_are_asked_for(base):
    write(base, KEYS)
    assert {url.removeprefix(f"{base}/") for url in io.find(f"{base}/**", hidden=True)} == set(KEYS)


def test_a_range_in_the_wrong_order_is_no_pattern(base):
    with pytest.raises(CprError, match="not a glob pattern"):
        io.find(f"{base}/[z-a].txt")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder, memory = tmp_path_factory.mktemp("tree"), f"memory://{uuid.uuid4().hex}"
    for steps in itertools.product(["a", "b", ".a", "aa"], ["a", "b", ".b"]):
        for key in ("/".join(steps) + "/a", f"{steps[0]}/{steps[1]}.x", f"{steps[0]}.y", f".{steps[1]}.z"):
            for base in (str(folder), memory):
                with io.writing(f"{base}/{key}") as file:
                    file.write(b"x")
    return folder, memory


@given(
    st.lists(
        st.sampled_from(["*", "**", "a*", "?", "[ab]", "[!a]", "a", "b", ".a", ".*"]), min_size=1, max_size=4
    )
)
def test_patterns_mean_what_the_standard_library_says(tree, steps):
    """On local files as in memory: one implementation of ours, and one that is not."""
    pattern = "/".join(steps)
    folder, memory = tree
    theirs = glob.glob(f"{folder}/{pattern}", recursive=True)
    expected = {os.path.relpath(path, folder) for path in theirs if os.path.isfile(path)}
    assert names(str(folder), pattern) == expected
    assert names(memory, pattern) == expected


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
