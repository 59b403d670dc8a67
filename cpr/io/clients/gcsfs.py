"""Private access to gcsfs: requests to Google Cloud Storage with its session, endpoint and credentials.

gcsfs's own requests repeat a part of an upload without asking how much of it has arrived, and report failures
only in the text of an exception. Here every request can safely be repeated, and a refusal carries its status.
The JSON interface is described at https://cloud.google.com/storage/docs/json_api/v1.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from cpr.io.answer_checks import BadAnswerError, SetupError, read_some
from cpr.io.outside_json import read_json
from cpr.io.throttling import SLOW_DOWN, counted_pauses
from cpr.io.timeouts import wait_for

__all__ = [
    "Answer",
    "Requests",
    "client_options",
    "named",
    "passing_errors",
    "refusal",
    "right",
    "wait_seconds",
    "was_refused",
]

T = TypeVar("T")

_TRIES = 5
# At an endpoint that has never answered it is the endpoint that is wrong, and not the moment.
_FIRST_TRIES = 3
_ANSWERED = "_cpr_answered"
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 32.0
# What the service documents as worth another try.
_PASSING = frozenset((408, 429, 500, 502, 503, 504))
_PIECE_BYTES = 256 << 10
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60
# The slowest line that is waited for.
_BYTES_PER_SECOND = 256 << 10
_MOST_BYTES = 64 << 20  # of an answer: a page of a listing has a thousand names


def client_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Default options for gcsfs: uploads by zarr are verified, unless the user has chosen otherwise.

    Raises SetupError for a file of credentials that is not there, for which gcsfs would take none.
    """
    path = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if path and not given.get("token") and not os.environ.get("STORAGE_EMULATOR_HOST"):
        try:
            with open(path, encoding="utf-8") as file:
                json.load(file)
        except (OSError, ValueError):
            raise SetupError("CredentialsFile") from None
    return {} if "consistency" in given else {"consistency": "md5"}


@dataclass(frozen=True)
class Answer:
    """An answer of the store, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_passing(self) -> bool:
        """Whether the error is temporary, so that a retry may succeed."""
        return self.status in _PASSING

    def json(self) -> dict[str, Any]:
        """The JSON body. Raises BadAnswerError if the answer is not the store's but, say, a proxy's."""
        try:
            found: dict[str, Any] = read_json(self.body, strict=False)
        except ValueError:
            raise BadAnswerError("NotJSON") from None
        if not isinstance(found, dict):
            raise BadAnswerError("NotJSON")
        return found


def right(verb: str) -> str:
    """Advice on the permission that is missing."""
    actions = {"read": "get", "look at": "get", "list": "list", "delete": "delete"}
    return f"give the account storage.objects.{actions.get(verb, 'create')} on the bucket"


def refusal(status: int, code: str | None = None) -> OSError:
    """Make an OSError from an error answer; `code` is the error code by which callers translate it."""
    cls = {404: FileNotFoundError, 410: FileNotFoundError, 403: PermissionError}.get(status, OSError)
    error = cls(f"the store answered {status}")
    error.code = code or str(status)  # type: ignore[attr-defined]
    return error


def wait_seconds(attempt: int) -> float:
    """Seconds to wait before retry `attempt` (from 1); randomised, so that workers spread out."""
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
    return random.uniform(longest / 2, longest)  # noqa: S311 - nobody is to be kept from guessing it


def named(*parts: str) -> str:
    """Build a path in which every second part is a variable that is percent-encoded, slashes included."""
    return "".join(quote(part, safe="") if index % 2 else part for index, part in enumerate(parts))


class Requests:
    """Sends requests to one endpoint.

    Args:
        fs: gcsfs's filesystem, made in this process.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the event loop of the client."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._fs.loop)

    def wait(self, coroutine: Coroutine[Any, Any, T], nbytes: int = 0) -> T:
        """Wait for a coroutine that reads so many bytes; returns its result. Raises NoAnswerError."""
        return wait_for(self.submit(coroutine), nbytes)

    def place_given(self, url: str) -> str:
        """Check a URL from an answer before credentials are sent to it. Raises BadAnswerError.

        It may be on another host, but is asked as HTTP is, and no less protected than the endpoint.
        """
        allowed = ("https",) if self._fs._location.startswith("https:") else ("https", "http")
        try:
            parts = urlsplit(url)
            is_sound = parts.scheme in allowed and parts.hostname and parts.port != 0
        except ValueError:
            is_sound = False
        if not is_sound or not url.isascii() or not url.isprintable():
            raise BadAnswerError("NoLocation")
        return url

    def is_here(self) -> bool:
        """Whether this is the thread of the event loop, which must not wait for itself."""
        try:
            return asyncio.get_running_loop() is self._fs.loop
        except RuntimeError:
            return False

    async def once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
        most: int = _MOST_BYTES,
    ) -> Answer:
        """Send one request; returns the answer, whatever its status. Raises aiohttp's error if there is none.

        Args:
            method: of HTTP.
            path: below the endpoint, quoted; or a whole URL that the store has given.
            query: parameters.
            headers: besides those of the credentials.
            body: is sent in pieces, none of which is copied whole.
            most: limit of the answer's body in bytes; one byte more is read, so that excess is noticed.
        """
        import aiohttp
        from yarl import URL

        await self._fs._set_session()
        url = path if "://" in path else self._fs._location + path
        parameters = self._fs._get_params(dict(query or {}))
        if parameters:
            url += ("&" if "?" in url else "?") + urlencode(parameters)
        size = 0 if body is None else len(body)
        patience = _ANSWER_SECONDS + size / _BYTES_PER_SECOND
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=patience)
        sent = {"Content-Length": str(size), **(headers or {})}
        async with self._fs._session.request(
            method,
            # Quoted already; another quoting would turn %2F into a slash.
            URL(url, encoded=True),
            headers=self._fs._get_headers(sent),
            # An object that is stored compressed is to come as it is stored: that is what has its size.
            auto_decompress="Range" not in sent,
            data=_pieces(body) if size and body is not None else None,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            setattr(self._fs, _ANSWERED, True)
            content = await read_some(response.content.read, most + 1)
            return Answer(response.status, response.headers, content)

    def _is_worth_waiting_for(self, error: Exception) -> bool:
        import aiohttp

        return hasattr(self._fs, _ANSWERED) or not isinstance(error, aiohttp.ClientConnectorError)

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
        most: int = _MOST_BYTES,
    ) -> Answer:
        """Send a request with retries; a refusal is raised as an OSError with its code."""
        for attempt in range(1, _TRIES + 1):
            try:
                answer = await self.patiently(method, path, query, headers, body, most)
            except passing_errors() as error:
                if attempt == (_TRIES if self._is_worth_waiting_for(error) else _FIRST_TRIES):
                    raise
            else:
                if answer.status < 300:
                    return answer
                if not answer.is_passing or answer.status in SLOW_DOWN or attempt == _TRIES:
                    raise refusal(answer.status)
            await asyncio.sleep(wait_seconds(attempt))
        raise AssertionError("unreachable")

    async def patiently(self, method: str, path: str, *about: Any) -> Answer:
        """As `once`, with retries for as long as the store is throttling."""
        pauses = counted_pauses()
        while await was_refused(answer := await self.once(method, path, *about), pauses):
            pass
        return answer


async def was_refused(answer: Answer, pauses: Iterator[float]) -> bool:
    """Whether the store is throttling and retries are left; returns after the pause, when a retry is due.

    Args:
        answer: of the store.
        pauses: that are left; see `cpr.io.throttling.counted_pauses`.
    """
    if answer.status not in SLOW_DOWN or (seconds := next(pauses, None)) is None:
        return False
    await asyncio.sleep(seconds)
    return True


def passing_errors() -> tuple[type[Exception], ...]:
    """The exceptions for a missing answer, after which a retry may succeed."""
    import aiohttp

    return aiohttp.ClientError, TimeoutError, OSError


async def _pieces(body: bytes | memoryview) -> AsyncIterator[bytes]:
    view = memoryview(body)
    for start in range(0, len(view), _PIECE_BYTES):
        yield bytes(view[start : start + _PIECE_BYTES])
