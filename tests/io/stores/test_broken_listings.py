"""GCS, Azure and SFTP that list what no store has: typed errors, in all that lists."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import asyncssh
import fsspec.config
import pytest
from asyncssh import SFTPAttrs, SFTPName

import cpr
from cpr import io
from cpr.errors import TransferError
from cpr.io import gc_mark_lists
from cpr.operations.ls import list_results
from cpr.operations.scan import find_records, lines, list_pages
from tests.servers.environment import exported
from tests.servers.sftp import running_sftp


def _asking(url):
    """Whatever lists a folder, by a name."""
    return {
        "glob": lambda: cpr.ImageSource.glob(f"{url}/r/*.tif", empty="ignore"),
        "glob below": lambda: cpr.ImageSource.glob(f"{url}/r/**/*.tif", empty="ignore"),
        "results": lambda: list_results(f"{url}/r"),
        "records": lambda: list(find_records(f"{url}/r")),
        "lines": lambda: list(lines(list_pages(f"{url}/r"))),
        "orphans": lambda: io.find_orphans(f"{url}/r"),
        "marks": lambda: gc_mark_lists._read(f"{url}/r", None),
    }


ASKING = list(_asking(""))


def _all(url):
    return {**_asking(url), "glob of folders": lambda: io.find(f"{url}/*/*.tif")}


@contextmanager
def _answering(kind):
    """A server, and what it answers from now on to whatever it is asked to list."""
    said = {"body": b""}

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(said["body"])))
            self.end_headers()
            self.wfile.write(said["body"])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", said
        server.shutdown()
        thread.join()


def _is_typed(ask):
    with pytest.raises(TransferError) as caught:
        ask()
    assert caught.value.remedy and caught.value.url


# ---- GCS

_ITEM = {"name": "r/a.tif", "size": "10", "generation": "1", "updated": "2026-01-01T00:00:00Z"}
_NO_SIZES = (
    None,
    "",
    "abc",
    -5,
    "-5",
    "1e3",
    1.5,
    1 << 63,
    "9" * 30,
    True,
    [],
    {},
    "1_000",
    " 12 ",
    "\u0661",
)
_NO_TIMES = (None, "", "yesterday", 5, [], "9" * 400, "99999-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59")
_NO_NAMES = (None, "", 5, 1.5, True, ["r/a.tif"], {"r": 1})
GCS = {
    **{f"{field} missing": {"items": [{k: v for k, v in _ITEM.items() if k != field}]} for field in _ITEM},
    **{f"size {value!r}": {"items": [{**_ITEM, "size": value}]} for value in _NO_SIZES},
    **{f"updated {value!r:.30}": {"items": [{**_ITEM, "updated": value}]} for value in _NO_TIMES},
    **{f"name {value!r}": {"items": [{**_ITEM, "name": value}]} for value in _NO_NAMES},
    **{f"generation {value!r}": {"items": [{**_ITEM, "generation": value}]} for value in (None, [], {}, "x")},
    **{f"items {value!r}": {"items": value} for value in (5, "abc", {"a": 1}, [5], [None], [[]], True)},
    **{f"token {value!r}": {"nextPageToken": value} for value in (5, ["a"], {"a": 1})},
    **{f"prefixes {value!r}": {"prefixes": value} for value in (5, "abc", {"a": 1}, [5], [None], [""])},
    "infinite": b'{"items": [{"name": "r/a.tif", "size": Infinity}]}',
    "a list": b"[]",
    "lists in lists": b'{"items":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "nothing": b"",
}


@pytest.fixture(scope="module")
def gcs():
    hidden = ("GOOGLE_APPLICATION_CREDENTIALS", "FSSPEC_G")
    with _answering("application/json") as (url, said), exported({"STORAGE_EMULATOR_HOST": url}, hidden):
        yield said


@pytest.mark.parametrize("name", GCS)
def test_gcs(gcs, name):
    body = GCS[name]
    gcs["body"] = body if isinstance(body, bytes) else json.dumps(body).encode()
    for ask in _all("gs://bucket").values():
        _is_typed(ask)


def test_gcs_that_is_sound(gcs):
    # Other emulators tell numbers, and times without a zone.
    for item in (_ITEM, {**_ITEM, "size": 10, "generation": 1, "updated": "2026-01-01T00:00:00"}):
        gcs["body"] = json.dumps({"items": [item]}).encode()
        found = {name: ask() for name, ask in _asking("gs://bucket").items()}
        assert [one.url for one in found["glob"]] == ["gs://bucket/r/a.tif"]
        assert found["lines"] == [("gs://bucket/r/a.tif", 10, 1767225600.0, "generation=1")]


# ---- Azure


def _page(name="r/a.tif", time="Thu, 01 Jan 2026 00:00:00 GMT", etag="0x1", size="10"):
    fields = {"Last-Modified": time, "Etag": etag, "Content-Length": size}
    said = "".join(f"<{key}>{value}</{key}>" for key, value in fields.items() if value is not None)
    named = "" if name is None else f"<Name>{name}</Name>"
    return _listed(f"<Blob>{named}<Properties>{said}<BlobType>BlockBlob</BlobType></Properties></Blob>")


def _listed(items):
    head = '<EnumerationResults ServiceEndpoint="http://127.0.0.1/a" ContainerName="bucket">'
    return f"{head}<Blobs>{items}</Blobs><NextMarker/></EnumerationResults>".encode()


AZURE = {
    **{f"{field} missing": _page(**{field: None}) for field in ("name", "time", "etag", "size")},
    **{f"size {size}": _page(size=size) for size in ("", "abc", "-5", "1e3", "9" * 30, 1 << 63, "1.5")},
    **{f"time {time:.30}": _page(time=time) for time in ("", "yesterday", "9" * 400, "2026-01-01")},
    "the year 99999": _page(time="Fri, 01 Jan 99999 00:00:00 GMT"),
    "the year 9999": _page(time="Fri, 31 Dec 9999 23:59:59 GMT"),
    "an empty name": _page(name=""),
    "an empty tag": _page(etag=""),
    "no properties": _listed("<Blob><Name>r/a.tif</Name></Blob>"),
    "a folder without a name": _listed("<BlobPrefix><Name></Name></BlobPrefix>"),
    "no list": b"<EnumerationResults/>",
    "HTML": b"<html><body>Sign in</body></html>",
    "no XML": b"Sign in",
    "nothing": b"",
}


@pytest.fixture(scope="module")
def azure():
    with _answering("application/xml") as (url, said):
        login = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint={url}/a"
        with exported({"AZURE_STORAGE_CONNECTION_STRING": login}, hide=("AZURE_STORAGE_", "FSSPEC_A")):
            yield said


@pytest.mark.parametrize("name", AZURE)
def test_azure(azure, name):
    azure["body"] = AZURE[name]
    # A folder is asked for only by who lists one level.
    asked = {"a folder without a name": ["marks", "glob of folders"]}
    for ask in asked.get(name, _all("")):
        _is_typed(_all("az://bucket")[ask])


def test_azure_that_is_sound(azure):
    azure["body"] = _page()
    assert [one.url for one in _asking("az://bucket")["glob"]()] == ["az://bucket/r/a.tif"]


# ---- SFTP


def _attrs(**changed):
    fields = {"size": 10, "permissions": 0o100644, "uid": 0, "gid": 0, "atime": 1, "mtime": 1, **changed}
    return SFTPAttrs(**{name: value for name, value in fields.items() if value is not None})


_FOLDER = _attrs(permissions=0o40755)
SFTP = {
    "no attributes": (b"a.tif", SFTPAttrs()),
    "no permissions": (b"a.tif", _attrs(permissions=None)),
    "no times": (b"a.tif", _attrs(atime=None, mtime=None)),
    "the largest size": (b"a.tif", _attrs(size=(1 << 64) - 1)),
    "a size of 64 bits": (b"a.tif", _attrs(size=1 << 63)),
    "a name that is not UTF-8": (b"\xff\xfe.tif", _attrs()),
    "a name in another folder": (b"x/../../a.tif", _attrs()),
    "a name in a folder above": (b"../a.tif", _attrs()),
    "a folder that leads back": (b"../r", _FOLDER),
    "a folder below": (b"x/y", _FOLDER),
}


@pytest.fixture(scope="module")
def sftp(tmp_path_factory):
    said = {}

    class Files(asyncssh.SFTPServer):
        async def scandir(self, _path):
            name, attrs = said["entry"]
            yield SFTPName(name, b"", attrs)

    folder = tmp_path_factory.mktemp("sftp")
    (folder / "r").mkdir()
    with running_sftp(folder, Files) as server, pytest.MonkeyPatch.context() as patch:
        patch.setitem(fsspec.config.conf, "sftp", server.options)
        said["url"] = server.url
        yield said


@pytest.mark.parametrize("name", SFTP)
def test_sftp(sftp, name):
    sftp["entry"] = SFTP[name]
    # Who wants names alone needs no sizes.
    names_only = ["marks"] if "size" in name else []
    for ask in [one for one in ASKING if one not in names_only]:
        _is_typed(_asking(sftp["url"])[ask])


def test_sftp_that_is_sound(sftp):
    sftp["entry"] = (b"a.tif", _attrs())
    assert [one.url for one in _asking(sftp["url"])["glob"]()] == [f"{sftp['url']}/r/a.tif"]
