"""Private access to fsspec: paths, listings and configuration below its public functions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import fsspec
import fsspec.config
import fsspec.core
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile

from cpr.errors import CprError, TransferError

__all__ = [
    "close_on",
    "configured",
    "holds_back",
    "local_path",
    "make_folders",
    "new_filesystem",
    "options_in_url",
    "path_on",
    "size_of",
]


def configured(protocol: str) -> Mapping[str, Any]:
    """The storage options that fsspec's own configuration sets for a protocol."""
    found: Mapping[str, Any] = fsspec.config.conf.get(protocol, {})
    return found


def options_in_url(protocol: str, url: str) -> Mapping[str, Any]:
    """The storage options that a URL contains: a host, an account."""
    found: Mapping[str, Any] = fsspec.get_filesystem_class(protocol)._get_kwargs_from_urls(url)
    return found


async def make_folders(fs: Any, path: str) -> None:
    """A folder and those around it, by an async filesystem; they may be there."""
    await fs._makedirs(path, exist_ok=True)


async def size_of(fs: Any, path: str) -> int | None:
    """How many bytes an async filesystem says that a file has. Raises FileNotFoundError."""
    size: int | None = (await fs._info(path)).get("size")
    return size


def local_path(url: str) -> str:
    """The path of a local file, also for `file://` URLs."""
    return str(LocalFileSystem._strip_protocol(url))


def path_on(fs: fsspec.AbstractFileSystem, url: str) -> str:
    """The path of a URL on its filesystem; `?` and `#` are kept, which some filesystems take for a query."""
    if "://" not in url or "::" in url or url.startswith("http"):
        return str(fs._strip_protocol(url))
    hidden = url.replace("?", "\x01").replace("#", "\x02")
    return str(fs._strip_protocol(hidden)).replace("\x01", "?").replace("\x02", "#")


def new_filesystem(protocol: str, url: str, options: Mapping[str, Any]) -> fsspec.AbstractFileSystem:
    """Make a private filesystem without listing cache: a cached listing makes `exists` wrong both ways."""
    if issubclass(fsspec.get_filesystem_class(protocol), AsyncFileSystem):
        # Others may not know it: the one for SFTP hands whatever it is given to paramiko.
        options = {"use_listings_cache": False, **options}
    try:
        fs, _ = fsspec.core.url_to_fs(url, skip_instance_cache=True, **options)
    except TypeError as error:
        raise _not_made(protocol, url, error) from None
    fs.dircache.use_listings_cache = False
    if isinstance(fs, AsyncFileSystem):
        close_on(fs.loop, fs)
    return fs


def _not_made(protocol: str, url: str, error: TypeError) -> CprError:
    # Python quotes the names of parameters, and no values.
    names = ", ".join(re.findall(r"'(\w+)'", str(error))) or "something else"
    return TransferError(
        "the filesystem cannot be opened with what the URL and its storage options tell",
        url=url,
        expected=f"all options that {protocol} needs, and none that it does not know",
        actual=f"missing, or not known: {names}",
        remedy=f"write them into the URL ({protocol}://HOST/...), or correct fsspec's configuration: "
        f"FSSPEC_{protocol.upper()}_... in the environment",
    )


def close_on(loop: asyncio.AbstractEventLoop, fs: AsyncFileSystem) -> None:
    """Make a filesystem close its connections on the loop that opened them, whichever thread collects it.

    s3fs and gcsfs would do so on the loop of that thread, where it fails.
    """
    if hasattr(fs, "close_session"):
        fs.close_session = partial(_close, loop)


def _close(loop: asyncio.AbstractEventLoop, _: Any, session: Any, *__: Any) -> None:
    if session is None or not loop.is_running():
        return

    async def close() -> None:
        with suppress(Exception):
            await session.__aexit__(None, None, None)

    closing = asyncio.run_coroutine_threadsafe(close(), loop)
    if asyncio._get_running_loop() is not loop:
        with suppress(Exception):  # at the end of the process there may be no other moment
            closing.result(0.1)


def holds_back(file: Any) -> bool:
    """Whether an open file has its own commit() and discard(), and stays invisible until committed."""
    return (
        isinstance(file, AbstractBufferedFile)
        and type(file).commit is not AbstractBufferedFile.commit
        and not file.autocommit
    )
