"""URLs in one normal spelling for each place, and their parts.

A location is a plain absolute path for local files, else an fsspec URL.
"""

from __future__ import annotations

import os
import posixpath
import re
import warnings
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import fsspec
import fsspec.utils

from cpr.errors import CprError, TransferError, UsageError, shown
from cpr.io.clients.fsspec import local_path
from cpr.io.protocols import is_known, kind_of
from cpr.io.url_secrets import require_no_secret

__all__ = ["join", "normalise", "pattern_folder", "protocol_of", "split"]

_DRIVE = re.compile(r"[A-Za-z]:([/\\]|$)")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
# `s3;//bucket`, `s3//bucket`: a slip of the finger, as long as it is a protocol that stands there.
_MISSPELT = re.compile(r"([A-Za-z][A-Za-z0-9]*)[^\w/\\:]?//+(?=[^/])")
_VARIABLE = re.compile(r"\$\w+|\$\{\w+\}|%\w+%")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# What clients send at all (botocore's VALID_BUCKET, and ARNs): what else stands there can be no bucket.
_BUCKET = re.compile(r"[A-Za-z0-9._:-]{1,255}")


def normalise(path: str | os.PathLike[str]) -> str:
    """Return the normal spelling of a place: an absolute path without `file://`, or an fsspec URL.

    Keys of object stores stay as they are, `//` in them too, but for a slash at the end.

    Takes strings, os.PathLike and UPath objects. Raises UsageError for anything else, and CprError, with the
    remedy, for what would mean another place than it says: an empty path, control characters, a URL with a
    secret in it, one that has lost a slash (`pathlib.Path("s3://…")` is `s3:/…`), a path that begins with a
    blank or a variable of a shell, a host in a `file://` URL, a drive of Windows elsewhere, `..` in a key, an
    unknown user's `~`, a name that no bucket can have.

    >>> normalise("file:///data/a.tif"), normalise("s3://bucket/a//b.tif")
    ('/data/a.tif', 's3://bucket/a//b.tif')
    """
    if getattr(path, "storage_options", None):
        warnings.warn(
            "the storage options of this UPath are not carried along: cpr takes them from fsspec's "
            "configuration and the environment, so that every worker finds its own",
            stacklevel=3,
        )
    url = _text_of(path)
    require_no_secret(url)
    if not url or _CONTROL.search(url):
        raise _not_usable(
            url,
            "not a usable path",
            "a path or fsspec URL without control characters",
            "name a file, for example 's3://bucket/folder/image.tif'",
        )
    protocol = protocol_of(url)
    if protocol == "file":
        return _local(url)
    if kind_of(protocol).authority == "host":
        _require_host_and_port(url)
    if "::" in url:
        return url
    if not _is_protocol(protocol):
        likely = protocol.strip().lower()
        remedy = "correct the URL, or install the package that implements the protocol"
        raise TransferError(
            "no such protocol",
            url=url,
            expected="one of fsspec's: a local path, file, memory, s3, gs, az, sftp ...",
            actual=protocol,
            remedy=f"write '{likely}://{url.partition('://')[2]}'" if _is_protocol(likely) else remedy,
        )
    scheme, _, rest = url.partition("://")
    if kind_of(protocol).authority in ("host", "none"):
        return f"{scheme}://{re.sub('/+', '/', rest).strip('/')}"
    if rest.startswith("/") or not rest:
        raise _not_usable(
            url,
            "the URL names no bucket",
            f"{scheme}://bucket/key",
            f"write '{scheme}://{rest.lstrip('/') or 'BUCKET'}'",
        )
    bucket = rest.partition("/")[0]
    if kind_of(protocol).authority == "bucket" and not _BUCKET.fullmatch(bucket):
        raise _not_usable(
            url,
            "no bucket can have this name",
            "3 to 63 lower-case letters, digits, '-' and '.'",
            f"correct the name of the bucket: '{ascii(bucket)[1:-1][:80]}' has other characters, or too many",
        )
    if any(step in (".", "..") for step in rest.split("/")):
        raise _not_usable(
            url,
            "the key has a step '.' or '..' in it, which clients read in different ways",
            "a key without them",
            f"write '{scheme}://{posixpath.normpath(rest)}', or give the object another key",
        )
    return f"{scheme}://{rest if rest.endswith('//') else rest.removesuffix('/')}"


def _text_of(path: object) -> str:
    """The text of a path or URL. Raises UsageError for anything else."""
    # A UPath's str() is its URL; os.fspath() would strip the protocol.
    text = os.fsdecode(path) if isinstance(path, bytes) else str(path)
    if isinstance(path, (str, bytes, os.PathLike)) or hasattr(path, "storage_options"):
        return text
    if _URL.match(text):  # objects that are URLs, of yarl, pydantic and others
        return text
    if path is None:
        remedy = "give a path or URL: where no file is meant, make no resource"
    elif hasattr(path, "get_path"):
        remedy = "give its path, other.get_path(); or use the resource as it is"
    elif isinstance(path, Mapping):
        remedy = "cpr.load(record) gives what a record is of"
    elif isinstance(path, (list, tuple, set, frozenset)):
        remedy = "one call for each: [from_path(path) for path in paths]; glob(pattern) finds files"
    elif hasattr(path, "__array__"):
        remedy = "a path comes first, then the data: target = from_path(path); target.set_data(data)"
    else:
        remedy = "give a text, a pathlib.Path or a UPath"
    raise UsageError(
        "not a path", expected="a path or URL", actual=f"{type(path).__name__}: {shown(path)}", remedy=remedy
    )


def _require_host_and_port(url: str) -> None:
    try:
        urlsplit(url).port  # noqa: B018 - it raises
    except ValueError:
        raise _not_usable(
            url,
            "host and port cannot be told apart",
            "a host, or an IPv6 address in brackets, and a port of 0 to 65535",
            "correct what stands between '://' and the next '/'",
        ) from None


def _local(url: str) -> str:
    if os.name != "nt" and (_DRIVE.match(url) or url.startswith("\\\\")):
        raise _not_usable(
            url,
            "this is a path of Windows, and here is none",
            "a path of this machine",
            "give the place where the drive or share is mounted here",
        )
    scheme, _, rest = url.partition("://")
    if rest:
        _require_no_host(url, scheme, rest)
    expanded = os.path.expanduser(url)
    if url.startswith("~") and expanded == url:
        home = "the home of a user of this machine"
        raise _not_usable(url, "there is no such user", home, "write the path out, or './~...'")
    _require_no_slip(url)
    try:
        path = os.path.abspath(local_path(expanded))
    except FileNotFoundError:
        gone = "the folder that this process works in is gone"
        raise _not_usable(
            url, gone, "an absolute path", "change to another folder, or write it out"
        ) from None
    if not rest:
        _require_both_slashes(url, path.replace(os.sep, "/"))
    # POSIX leaves two slashes at the begin as they are; there is one spelling for each place.
    return f"/{path.lstrip('/')}" if os.name == "posix" else path


def _require_no_slip(url: str) -> None:
    """Refuse likely mistakes: `$HOME`, a leading blank, `s3;`."""
    misspelt = _MISSPELT.match(url)
    first = re.split(r"[/\\]", url, maxsplit=1)[0]
    if url != url.lstrip():
        problem, place, kept = "the path begins with a blank", url.lstrip(), url
    elif _VARIABLE.fullmatch(first) and first != url:
        value = os.environ.get(first.strip("${}%"))
        problem = "nobody fills in the variables of a shell here"
        place, kept = f"{value or '/...'}{url[len(first) :]}", url
    elif misspelt and is_known(misspelt[1].lower()):
        place = f"{misspelt[1].lower()}://{url[misspelt.end() :]}"
        problem, kept = "a URL that is misspelt", posixpath.normpath(url)
    else:
        return
    remedy = f"write '{place}', or './{kept}' for a folder that is called so"
    raise _not_usable(url, problem, "a path, or a URL with '://'", remedy)


def _require_both_slashes(url: str, path: str) -> None:
    """Refuse what `pathlib` makes of a URL: the rest would be a folder called "s3:"."""
    name, colon, rest = url.partition(":")
    name = name.lower()
    if not (colon and (is_known(name) or (rest.startswith("/") and _is_protocol(name)))):
        names = (step[:-1] for step in path.lower().split("/") if step.endswith(":"))
        name = next(filter(_is_protocol, names), "")
        rest = path[path.lower().find(f"/{name}:/") + len(name) + 3 :]
    if name:
        is_path = kind_of(name).name == "file" and not rest.startswith("/")
        root = "/" if kind_of(name).name == "file" else ""
        place = rest if is_path else f"{name}://{root}{rest.replace(chr(92), '/').lstrip('/')}"
        raise _not_usable(
            url,
            "a URL that has lost a slash, as pathlib.Path makes it",
            "a path, or a URL with '://'",
            f"write '{place}', as a string or a UPath",
        )


def _require_no_host(url: str, scheme: str, rest: str) -> None:
    is_drive = os.name == "nt" and _DRIVE.match(rest) is not None
    if not rest.startswith("/") and not is_drive:
        host, _, below = rest.partition("/")
        path = f"/{below}" if host == "localhost" else rest
        raise _not_usable(
            url,
            f"what follows {scheme}:// is a host, and local files have none",
            f"{scheme}:/// and an absolute path",
            f"write '{path}' for a path of this machine",
        )
    if os.name != "nt" and _DRIVE.match(rest.lstrip("/")):
        raise _not_usable(
            url,
            "this is a path of Windows, and here is none",
            "a path of this machine",
            "give the place where the drive is mounted here",
        )
    if _ESCAPE.search(rest):
        raise _not_usable(
            url,
            "a percent sign in a file:// URL is a character to some readers and an escape to others",
            "a path",
            f"write '{unquote(rest)}', or '{rest}' if the name has the percent sign in it",
        )


def _not_usable(url: str, problem: str, expected: str, remedy: str) -> CprError:
    return CprError(problem, url=ascii(url)[1:-1] if url else "''", expected=expected, remedy=remedy)


def _is_protocol(name: str) -> bool:
    return is_known(name) or name in fsspec.available_protocols()


def protocol_of(url: str) -> str:
    """The protocol as fsspec names it; `file` for plain paths."""
    # As fsspec does it, without a regular expression: this is asked a dozen times for each target.
    scheme, found, _ = url.partition("://")
    protocol = str(fsspec.utils.get_protocol(url)) if "::" in url else scheme if found else "file"
    return "file" if protocol == "local" else protocol


def join(location: str, name: str) -> str:
    """URL of `name` in a location."""
    if protocol_of(location) == "file":
        return os.path.join(location, name)
    return f"{location}{name}" if location.endswith("//") else f"{location}/{name}"


def split(url: str) -> tuple[str, str]:
    """Split a normalised URL into (location, file name).

    >>> split("s3://bucket/denoised/a.tif")
    ('s3://bucket/denoised', 'a.tif')
    """
    protocol = protocol_of(url)
    if protocol == "file":
        return os.path.split(url)
    location, _, name = url.rpartition("/")
    if location.endswith("/") and not location.endswith(":/"):
        # Of a key with two slashes the location keeps both, so that `join` gives it back.
        return f"{location}/", name
    if location.endswith(":/") and kind_of(protocol).authority == "none":
        return f"{location}/", name
    if location.endswith(":/") or not name:
        raise CprError(
            "the URL names no object in a bucket or folder",
            url=url,
            expected="protocol://bucket/name.ext",
            remedy="add a file name to the URL",
        )
    return location, name


def pattern_folder(pattern: str) -> str:
    """The folder in which a glob pattern starts.

    >>> pattern_folder("s3://bucket/plates/*/A01.tif"), pattern_folder("/data/a.tif")
    ('s3://bucket/plates', '/data')
    """
    literal = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    folder = re.split(r"[/\\]" if protocol_of(pattern) == "file" and os.name == "nt" else "/", literal)
    return "/".join(folder[:-1]) or "/"
