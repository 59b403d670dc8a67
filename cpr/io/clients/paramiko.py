"""Private access to paramiko, which is behind fsspec's SFTP: timeouts, pipelined reads, listings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from stat import S_ISLNK
from typing import Any

from cpr.io.answer_checks import BadAnswerError
from cpr.io.clients.thread_lock import PIECE_BYTES, exclusive_use, note_answer
from cpr.io.request_threads import in_thread
from cpr.io.timeouts import is_interruption, request_seconds

__all__ = [
    "client_options",
    "disconnect",
    "is_broken_link",
    "is_connection_lost",
    "list_folder",
    "name_if_free",
    "read_pipelined",
    "settle",
]

_CONNECT_SECONDS = 20.0
_EXTENDED = 200  # the request for what SFTP itself has not
_MOST_LINKS = 40  # on a way, as systems have it


def client_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Default timeouts for connecting, where the user has set none."""
    waits = dict.fromkeys(
        ("timeout", "banner_timeout", "auth_timeout"), min(_CONNECT_SECONDS, request_seconds())
    )
    return {name: seconds for name, seconds in waits.items() if name not in given}


def settle(fs: Any) -> None:
    """Configure a connection: detect a dead link, and avoid needless waits."""
    channel = fs.ftp.get_channel()
    channel.settimeout(request_seconds())
    transport = channel.get_transport()
    transport.set_keepalive(30)
    # Else the end of every 32 KiB is held back until the other side has acknowledged their beginning.
    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fs._decode_stat = partial(_told, fs._decode_stat)


def _told(decode: Callable[..., dict[str, Any]], stat: Any, parent_path: str | None = None) -> dict[str, Any]:
    """As the filesystem's `_decode_stat`. Raises BadAnswerError if attributes are missing."""
    if stat.st_mode is None or stat.st_mtime is None:
        raise BadAnswerError("NoAttributes")
    try:
        return decode(stat, parent_path)
    except (TypeError, ValueError, OverflowError):
        raise BadAnswerError("NoAttributes") from None


def read_pipelined(fs: Any, file: Any, start: int, stop: int) -> bytes | None:
    """Read a range, requesting all pieces of 32 KiB at once; None if the file is shorter.

    One by one, each would wait for the one before.
    """
    # Past the end of the file there is no answer, only the end of the file.
    with suppress(EOFError), exclusive_use(fs), file:
        ranges = [(at, min(PIECE_BYTES, stop - at)) for at in range(start, stop, PIECE_BYTES)]
        pieces = []
        for piece in file.readv(ranges):
            note_answer(fs)  # others wait for their turn
            pieces.append(piece)
        return b"".join(pieces)
    return None


def list_folder(fs: Any, path: str) -> list[dict[str, Any]]:
    """List a folder, as the filesystem's `ls`. Raises BadAnswerError for a listing that repeats an entry.

    A name that is not UTF-8 ends the listing: paramiko can neither spell it nor ask for it.
    """
    found: dict[str, dict[str, Any]] = {}
    with exclusive_use(fs):
        entries = fs.ftp.listdir_iter(path)
        while (entry := _next(entries)) is not None:
            if entry.filename in found:
                raise BadAnswerError("ListingRepeats")
            found[entry.filename] = fs._decode_stat(entry, path)
            note_answer(fs)
    return list(found.values())


def is_broken_link(fs: Any, path: str) -> bool:
    """Whether a link is dangling or circular: servers report only a failure.

    Raises OSError where a step of the way cannot be looked at.
    """
    try:
        return _leads_in_circles(fs, path)
    except FileNotFoundError:
        return True


def _leads_in_circles(fs: Any, path: str) -> bool:
    links = 0
    at, steps = "", [step for step in reversed(path.split("/")) if step]
    with exclusive_use(fs):
        while steps:
            step = steps.pop()
            if step == "..":
                at = at.rpartition("/")[0]
            elif step != ".":
                found = fs.ftp.lstat(f"{at}/{step}")
                note_answer(fs)
                if not S_ISLNK(found.st_mode or 0):
                    at = f"{at}/{step}"
                    continue
                links += 1
                if links > _MOST_LINKS:
                    return True
                led = fs.ftp.readlink(f"{at}/{step}") or ""
                at = "" if led.startswith("/") else at
                steps += [one for one in reversed(led.split("/")) if one]
    return False


def name_if_free(fs: Any, hidden: str, path: str) -> bool:
    """Give a file its final name if that is free; returns whether it was.

    A link is made in one step, if nothing has its name, and then the hidden one goes. Where servers or their
    disks have no links the file is renamed, by the request that replaces nothing: whether that is one step is
    the server's affair.
    """
    with exclusive_use(fs):
        try:
            fs.ftp._request(_EXTENDED, "hardlink@openssh.com", hidden, path)
        except OSError as error:
            if is_interruption(error) or is_connection_lost(error):
                raise
            # Servers do not say why: a name that is taken is a failure like any other.
            if _is_taken(fs, path):
                return False
            return _renamed(fs, hidden, path)
        with suppress(OSError):
            fs.ftp.remove(hidden)
    return True


def _renamed(fs: Any, hidden: str, path: str) -> bool:
    try:
        fs.ftp.rename(hidden, path)
    except OSError as error:
        if is_interruption(error) or is_connection_lost(error) or not _is_taken(fs, path):
            raise
        return False
    return True


def _is_taken(fs: Any, path: str) -> bool:
    try:
        fs.ftp.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _next(entries: Iterator[Any]) -> Any:
    try:
        return next(entries, None)
    except UnicodeDecodeError:
        raise BadAnswerError("NameNotUTF8") from None


def disconnect(fs: Any) -> None:
    """Close the connection of an unresponsive filesystem, so that no thread waits for it."""
    if hasattr(fs, "ftp") and hasattr(fs, "client"):
        in_thread(fs.client.close)


def is_connection_lost(error: Exception) -> bool:
    """Whether the connection has ended, so that every other request on it would fail too."""
    closed = type(error) is OSError and "closed" in str(error)
    ssh = any(cls.__name__ == "SSHException" for cls in type(error).__mro__)
    return closed or ssh or isinstance(error, (EOFError, ConnectionError, TimeoutError))
