"""Private access to adlfs: requests to Azure Blob Storage with its account and credentials.

adlfs finds account and credentials: key, token or login. Its requests wait 15 seconds before a retry and do
not verify uploads; so it gets a client of Azure's SDK that does both differently, which `cpr.io.stores.azure`
uses too. The interface is described at
https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import weakref
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from cpr.io.answer_checks import BadAnswerError, SetupError, require_range, whole_number
from cpr.io.throttling import MOST_REFUSALS, SLOW_DOWN, counted_pauses, pause_after
from cpr.io.timeouts import wait_for

__all__ = ["AzureClient", "client_options", "right", "settle"]

T = TypeVar("T")

_TRIES = 5
_READS = 3  # of an answer that is not what was asked for
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 32.0
_CONNECT_SECONDS = 10
_STORED = (200, 201, 202)
# A range of more would be asked for in pieces.
_RANGE_BYTES = 1 << 30


def client_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Default options for adlfs. Raises SetupError if no account is named."""
    from azure.core.utils import parse_connection_string

    connection = given.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if connection:
        try:
            parse_connection_string(connection)
        except ValueError:
            raise SetupError("ConnectionString") from None
    elif not (given.get("account_name") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME")):
        raise SetupError("NoAccount")
    return {}


def right(verb: str) -> str:
    """Advice on the permission that is missing."""
    role = "Reader" if verb in ("read", "look at", "list") else "Contributor"
    return f"give the account the role 'Storage Blob Data {role}' on the container, or a SAS with that right"


def settle(fs: Any) -> None:
    """Configure a new filesystem: cpr's retries and checks, literal paths, cleanup when the process ends."""
    from azure.storage.blob.aio import ExponentialRetry

    class Patience(ExponentialRetry):  # type: ignore[misc]
        async def send(self, request: Any) -> Any:
            body = request.http_request.body
            start = body.tell() if hasattr(body, "seek") else 0
            answer = await super().send(request)
            for seconds in counted_pauses():
                # The SDK retries server errors alone.
                if not _is_refusal(answer.http_response.status_code):
                    break
                await asyncio.sleep(seconds)
                if hasattr(body, "seek"):
                    body.seek(start)
                answer = await super().send(request)
            return answer

        def increment(
            self, settings: dict[str, Any], request: Any, response: Any = None, error: Any = None
        ) -> bool:
            refusals = settings.setdefault("refusals", 0)
            settings["pause"] = None
            if response is not None and response.status_code in SLOW_DOWN and refusals < MOST_REFUSALS:
                settings["refusals"] += 1
                settings["pause"] = pause_after(settings["refusals"])
                settings["total"] += 1  # it is none of the failures that are counted
                settings["status"] += 1
            return bool(super().increment(settings, request, response, error))

        def get_backoff_time(self, settings: Mapping[str, Any]) -> float:
            if settings["pause"] is not None:
                return float(settings["pause"])
            longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** settings["count"])
            return random.uniform(longest / 2, longest)  # noqa: S311 - nobody is to be kept from guessing it

    before = fs.service_client
    fs.service_client = client = type(before)(
        before.url,
        credential=before.credential,
        retry_policy=Patience(retry_total=_TRIES),
        raw_request_hook=_add_digest,
        raw_response_hook=_require_stored,
        connection_timeout=_CONNECT_SECONDS,
        max_single_get_size=_RANGE_BYTES,
    )
    # adlfs would take what follows a # for no part of the name.
    fs._strip_protocol = _literal_path
    fs._cat_file = partial(_cat_file, fs, fs._cat_file)
    # Its finalizers hold what they are to finalize, and wait for ever in a process that was forked.
    for finalizer, info in list(weakref.finalize._registry.items()):  # type: ignore[attr-defined]
        if info.weakref() is fs:
            finalizer.detach()
    weakref.finalize(fs, _close, fs.loop or asyncio.get_running_loop(), client, fs.credential)


def _is_refusal(status: int) -> bool:
    """Whether a status throttles the client that is no server error."""
    return status in SLOW_DOWN and status < 500


def _add_digest(request: Any) -> None:
    """Add a digest to an upload request, so that the service verifies what arrives."""
    found = request.http_request
    content = getattr(found, "content", None) or getattr(found, "data", None)
    if found.method == "PUT" and isinstance(content, bytes) and "Content-MD5" not in found.headers:
        found.headers["Content-MD5"] = content_md5(content)


def _require_stored(answer: Any) -> None:
    """Raise BadAnswerError if something else answered an upload, or the service got other bytes.

    For the SDK any answer of this status says that they are stored, with whatever headers.
    """
    request, headers = answer.http_request, answer.http_response.headers
    if request.method != "PUT" or answer.http_response.status_code not in _STORED:
        return
    if "x-ms-request-id" not in headers or "x-ms-version" not in headers:
        raise BadAnswerError("NoRequestId")
    sent, arrived = request.headers.get("Content-MD5"), headers.get("Content-MD5")
    if sent is not None and arrived is not None and sent != arrived:
        raise BadAnswerError("BadDigest")


def content_md5(content: bytes) -> str:
    """The MD5 digest as Azure expects it in a header."""
    return b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _literal_path(path: str | list[str]) -> Any:
    """The path of a URL, `container/key`, without any decoding."""
    if isinstance(path, list):
        return [_literal_path(one) for one in path]
    authority, slash, key = path.partition("://")[2 * ("://" in path)].lstrip("/").partition("/")
    return f"{authority.partition('@')[0]}{slash}{key}"


async def _cat_file(
    fs: Any,
    ask: Callable[..., Any],
    path: str,
    start: int | None = None,
    end: int | None = None,
    **given: Any,
) -> bytes:
    """Replaces adlfs's method, and also reads suffix ranges, which zarr uses for shards and Azure lacks."""
    if start is not None and start < 0:
        start = max(0, start + int((await fs._info(path))["size"]))
    found: bytes = await ask(path, start=start, end=end, **given)
    return found


def _close(loop: asyncio.AbstractEventLoop, client: Any, credential: Any) -> None:
    if not loop.is_running():
        return

    async def close() -> None:
        for one in (client, credential):
            with suppress(Exception):
                await one.close()

    closing = asyncio.run_coroutine_threadsafe(close(), loop)
    if asyncio._get_running_loop() is not loop:
        with suppress(Exception):  # at the end of the process there may be no other moment
            closing.result(0.1)


class AzureClient:
    """The requests of an adlfs filesystem; a refusal is raised as an OSError with the service's code.

    Args:
        fs: made in this process, and settled.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    @property
    def account(self) -> str:
        """The name of the storage account."""
        return str(self._fs.service_client.account_name)

    def blob(self, container: str, key: str) -> Any:
        """The SDK's client of a blob."""
        return self._fs.service_client.get_blob_client(container, key)

    def container(self, container: str) -> Any:
        """The SDK's client of a container."""
        return self._fs.service_client.get_container_client(container)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a request on the event loop of the client."""
        return asyncio.run_coroutine_threadsafe(_named(coroutine), self._fs.loop)

    def wait(self, coroutine: Coroutine[Any, Any, T], nbytes: int = 0) -> T:
        """Wait for a request that reads so many bytes; returns its answer. Raises NoAnswerError."""
        return wait_for(self.submit(coroutine), nbytes)

    async def read(
        self, container: str, key: str, start: int, stop: int, **condition: Any
    ) -> tuple[bytes, Mapping[str, str]]:
        """Read the bytes of a blob from start to stop; also returns the headers of the answer."""
        for _ in range(_READS - 1):
            with suppress(BadAnswerError):
                return await self._read(container, key, start, stop, condition)
        return await self._read(container, key, start, stop, condition)

    async def _read(
        self, container: str, key: str, start: int, stop: int, condition: Mapping[str, Any]
    ) -> tuple[bytes, Mapping[str, str]]:
        answers: list[Any] = []

        def note(answer: Any) -> None:
            # The body is read after this: of one that is longer than it may be nothing.
            announced = answer.http_response.headers.get("Content-Length", "")
            if answer.http_response.status_code < 300 and whole_number(announced) > stop - start:
                raise BadAnswerError("RangeIgnored")
            answers.append(answer)

        found = await self.blob(container, key).download_blob(
            offset=start, length=stop - start, **condition, raw_response_hook=note
        )
        content = bytes(await found.readall())
        headers: Mapping[str, str] = answers[-1].http_response.headers
        is_empty = not content and headers.get("Content-Range", "/0").endswith("/0")
        if not is_empty:
            require_range(headers.get("Content-Range"), start, stop, len(content))
        return content, headers


async def _named(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a request; a refusal is raised with the service's own error code."""
    from azure.core.exceptions import DecodeError, HttpResponseError, IncompleteReadError

    try:
        return await coroutine
    except IncompleteReadError:
        raise
    except DecodeError:
        raise BadAnswerError("NotXML") from None
    except HttpResponseError as error:
        if error.status_code is None:
            raise
        code = getattr(error, "error_code", None) or ""
        raise _refusal(error.status_code, str(getattr(code, "value", code))) from None
    except (RecursionError, LookupError, TypeError, AttributeError, ValueError) as error:
        # The SDK looks for what the answer of the service always has.
        raise BadAnswerError(type(error).__name__) from None


def _refusal(status: int, code: str) -> OSError:
    cls = {404: FileNotFoundError, 403: PermissionError}.get(status, OSError)
    error = cls(f"the store answered {status}")
    error.code = code or str(status)  # type: ignore[attr-defined]
    return error
