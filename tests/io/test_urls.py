"""One spelling for each place, and filesystems that are each process's own."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpr import io
from cpr.errors import CprError, RecordError, TransferError
from cpr.io.filesystems import filesystem
from cpr.io.url_policy import require_safe


@pytest.mark.parametrize(
    ("given_path", "expected"),
    [
        ("/a/b.tif", "/a/b.tif"),
        ("/a//c/../b.tif", "/a/b.tif"),
        ("file:///a/b.tif", "/a/b.tif"),
        ("local:///a/b.tif", "/a/b.tif"),
        ("~/b.tif", os.path.expanduser("~/b.tif")),
        ("b.tif", os.path.abspath("b.tif")),
        ("s3://bucket/a//b.tif", "s3://bucket/a//b.tif"),
        ("s3://bucket/a/", "s3://bucket/a"),
        ("s3://bucket/a//", "s3://bucket/a//"),
        ("gs://bucket//a/b.tif", "gs://bucket//a/b.tif"),
        ("sftp://host/a//b.tif", "sftp://host/a/b.tif"),
        ("s3://bucket/a%20b.tif", "s3://bucket/a%20b.tif"),
        ("/data/a%20b.tif", "/data/a%20b.tif"),
        ("/data/C:/b.tif", "/data/C:/b.tif"),
        ("/data/notes:1/b.tif", "/data/notes:1/b.tif"),
        ("./s3:b.tif", os.path.abspath("s3:b.tif")),
        ("data:2024.csv", os.path.abspath("data:2024.csv")),
        ("s3://bucket/a b/ü.tif", "s3://bucket/a b/ü.tif"),
        ("memory:///a/b.tif", "memory://a/b.tif"),
    ],
)
def test_one_spelling(given_path, expected):
    assert io.normalise(given_path) == expected
    assert io.normalise(expected) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("/a/b.tif", "/b.tif", "s3://bucket/b.tif", "memory://b.tif", "memory://a/c/b.tif"),
        *("s3://bucket//b.tif", "s3://bucket/a//b.tif", "gs://bucket/a///b.tif", "az://c/a//c/b.tif"),
    ],
)
def test_split_and_join_are_inverse(url):
    location, name = io.split(url)
    assert name == "b.tif"
    assert io.join(location, name) == url


@pytest.mark.parametrize("bad", ["", "a\x00b", "a\nb", "s3://bucket\x1b[31m/x", "\udcff"])
def test_unusable_paths(bad):
    with pytest.raises(CprError, match="not a usable path") as caught:
        io.normalise(bad)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        (Path("s3://bugs") / "results/x.npy", "s3://bugs/results/x.npy"),
        (Path("s3://bugs/x.npy").absolute(), "s3://bugs/x.npy"),
        (Path("gs://bugs/x.npy"), "gs://bugs/x.npy"),
        (Path("sftp://host/x.npy"), "sftp://host/x.npy"),
        (Path("memory://x/y.npy"), "memory://x/y.npy"),
        (Path("file:///data/x.npy"), "file:///data/x.npy"),
        ("s3:/bugs/x.npy", "s3://bugs/x.npy"),
        ("s3:bugs/x.npy", "s3://bugs/x.npy"),
        ("S3:/bugs/X.npy", "s3://bugs/X.npy"),
        ("S3://bugs/X.npy", "s3://bugs/X.npy"),
        (" gs://bugs/X.npy", "gs://bugs/X.npy"),
        ("FILE:///data/X.npy", "file:///data/X.npy"),
        ("./Out/GS:/bugs/X.npy", "gs://bugs/X.npy"),
        ("s3:\\\\bugs\\x.npy", "s3://bugs/x.npy"),
        ("file:x.npy", "x.npy"),
        ("./out/s3:/bugs/x.npy", "s3://bugs/x.npy"),
        ("file://localhost/data/x.npy", "/data/x.npy"),
        ("file://data/x.npy", "data/x.npy"),
        ("local://data/x.npy", "data/x.npy"),
        ("file:///data/a%20b.npy", "/data/a b.npy"),
        ("C:/data/x.npy", None),
        ("c:\\data\\x.npy", None),
        ("file:///C:/data/x.npy", None),
        ("\\\\server\\share\\x.npy", None),
        ("~nobody-of-this-name/x.npy", None),
        ("s3:///bugs/x.npy", "s3://bugs/x.npy"),
        ("s3://bugs/a/../x.npy", "s3://bugs/x.npy"),
        ("gs://bugs/./x.npy", "gs://bugs/x.npy"),
        (" /data/x.npy", "/data/x.npy"),
        ("\u00a0data/x.npy", "data/x.npy"),
        ("$HOME/x.npy", os.path.expanduser("~/x.npy")),
        ("${HOME}/x.npy", os.path.expanduser("~/x.npy")),
        ("%HOME%/x.npy", os.path.expanduser("~/x.npy")),
        ("$NOT_SET_ANYWHERE/x.npy", "/.../x.npy"),
        ("s3;//bugs/x.npy", "s3://bugs/x.npy"),
        ("s3//bugs/x.npy", "s3://bugs/x.npy"),
        ("GS.//bugs/x.npy", "gs://bugs/x.npy"),
    ],
)
def test_what_would_mean_another_place_is_refused_and_the_remedy_is_a_place(path, remedy):
    with pytest.raises(CprError, match="Remedy: ") as caught:
        io.normalise(path)
    assert not os.path.exists("s3:")
    if remedy is not None:
        written = re.search("'([^']*)'", caught.value.remedy)[1]
        assert written == remedy
        assert io.normalise(written)


@pytest.mark.parametrize(
    "odd", ["$HOME/x.npy", " data/x.npy", "s3;/bugs/x.npy", "$x", "a$b/x.npy", "a//x.npy"]
)
def test_odd_names_of_folders_are_taken_where_it_is_said_that_they_are_meant(odd, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert io.normalise(f"./{odd}") == os.path.abspath(odd)


@pytest.mark.parametrize("bad", ["s3://b.tif", "s3://"])
def test_urls_without_a_bucket_and_name(bad):
    with pytest.raises(CprError, match=r"names no (object|bucket)"):
        io.split(io.normalise(bad))


@pytest.mark.parametrize(
    "bucket", ["a b", "b\u00fccket", "*", "[bucket]", "b%20c", "b" * 256, "a?b", "a#b", "$HOME", "a\\b"]
)
@pytest.mark.parametrize("protocol", ["s3", "s3a", "gs", "gcs", "r2", "oss"])
def test_what_can_be_no_bucket_is_told_before_a_client_is_asked(protocol, bucket):
    with pytest.raises(CprError, match="no bucket can have this name") as caught:
        io.normalise(f"{protocol}://{bucket}/x.npy")
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    "bucket", ["bucket", "Bucket_1", "my.bucket-2", "arn:aws:s3:eu-west-1:123456789012:accesspoint"]
)
def test_whatever_can_be_a_bucket_is_taken(bucket):
    assert io.normalise(f"s3://{bucket}/x.npy") == f"s3://{bucket}/x.npy"


def test_unknown_protocol():
    with pytest.raises(TransferError, match="no such protocol"):
        io.normalise("nowhere://a/b.tif")


def test_missing_package_names_the_command():
    code = """
import sys
sys.modules["s3fs"] = None
from cpr import io, MissingDependencyError
try:
    io.stat("s3://bucket/a.tif")
except MissingDependencyError as error:
    assert error.url == "s3://bucket/a.tif"
    print(error)
"""
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Remedy: pip install 'prefect-cpr[s3]'" in text


@given(st.text(), st.text())
def test_no_text_escapes(location, name):
    """What passes is a name inside an absolute place, spelled in the one way."""
    try:
        require_safe(location, name)
    except RecordError:
        return
    assert "/" not in name
    assert name not in ("", ".", "..")
    assert ".." not in location.split("/")
    assert location == io.normalise(location)
    assert io.join(location, name).startswith(location)


def _read_in_child(url, queue):
    with io.reading(url) as file:
        queue.put(file.read())


FORK = """
import os, sys
from cpr import io

def read():
    with io.reading(sys.argv[1]) as file:
        return file.read()

data = read()
child = os.fork()
if not child:
    os._exit(0 if read() == data else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_builds_its_own(s3_url):
    with io.writing(f"{s3_url}/a.bin") as file:
        file.write(b"x" * 10_000_000)
    # From a process of its own, without whatever other tests have left in this one.
    command = [sys.executable, "-c", FORK, f"{s3_url}/a.bin"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_spawned_child_builds_its_own(s3_url):
    with io.writing(f"{s3_url}/a.bin") as file:
        file.write(b"x" * 10_000_000)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(f"{s3_url}/a.bin", queue))
    child.start()
    assert queue.get(timeout=60) == b"x" * 10_000_000
    child.join(30)
    assert child.exitcode == 0


def test_threads_share_and_settings_are_noticed(s3_url, monkeypatch):
    found = []
    threads = [threading.Thread(target=lambda: found.append(filesystem(s3_url)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(fs) for fs in found}) == 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert filesystem(s3_url)[0] is not found[0]
