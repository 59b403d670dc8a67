"""Private access to s3fs and aiobotocore: requests, their event loop, and credentials."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from cpr.io.answer_checks import BadAnswerError, SetupError, code_of, is_of_parser, read_some, require_range
from cpr.io.clients.s3_body import Body
from cpr.io.clients.s3_checksums import WHOLE_OBJECT, can_compute
from cpr.io.clients.s3_retries import ON_THROTTLED, ONCE, again_if_damaged, has_answered
from cpr.io.timeouts import wait_for

__all__ = ["BucketAccess", "S3Client", "client_options", "required", "right"]

T = TypeVar("T")
Direction: TypeAlias = Literal["read", "write"]

# A connection lost in the middle of an answer's body: the client repeats requests, bodies are ours to repeat.
_TRIES = 4
_FIRST_WAIT_SECONDS = 0.1
_POOL_CONNECTIONS = 96  # botocore's own limit is 10
_CREATE = "before-send.s3.CreateMultipartUpload"
_attempts: ContextVar[list[None] | None] = ContextVar("_attempts", default=None)
_READS = ("get_", "head_", "list_")  # what methods of botocore begin with that change nothing
_ONLY_WHERE_REQUIRED = "when_required"
# What those answer that do not know a checksum that is asked for.
_NOT_OFFERED = frozenset({"InvalidArgument", "InvalidRequest", "NotImplemented", "400", "501"})
# Whether a filesystem's endpoint keeps checksums of whole objects; the first upload in parts tells.
_KEEPS_CHECKSUMS = "_cpr_keeps_checksums"


def client_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Default options for s3fs: unsigned bodies with a CRC that the store checks, and many connections.

    A SHA-256 of bodies would only say it again, at a third of an upload's CPU time. Where it is set that they
    carry none, they are signed: what is changed on its way is refused in any case.
    """
    config = given.get("config_kwargs", {})
    signing = {"payload_signing_enabled": not _bodies_have_checksums(given), **config.get("s3", {})}
    return {"config_kwargs": {"max_pool_connections": _POOL_CONNECTIONS, **config, "s3": signing}}


def _bodies_have_checksums(given: Mapping[str, Any]) -> bool:
    """Whether botocore adds a checksum to every body: it does unless configured otherwise."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    name = "request_checksum_calculation"
    if name in (config := given.get("config_kwargs", {})):
        return bool(str(config[name]).lower() != _ONLY_WHERE_REQUIRED)
    try:
        session = botocore.session.Session(profile=given.get("profile"))
        return bool(str(session.get_config_variable(name)).lower() != _ONLY_WHERE_REQUIRED)
    except BotoCoreError:
        return True  # whoever makes the client is told what is wrong


def right(verb: str) -> str:
    """Advice on the permission that is missing."""
    actions = {
        "read": "GetObject",
        "look at": "GetObject",
        "list": "ListBucket",
        "delete": "DeleteObject",
        "abort uploads": "AbortMultipartUpload",
        "list uploads": "ListBucketMultipartUploads and s3:ListMultipartUploadParts",
    }
    return f"let the policy of the bucket, or of the user, allow s3:{actions.get(verb, 'PutObject')}"


def required(answer: Mapping[str, Any], name: str) -> Any:
    """Return a field that S3 always sends. Raises BadAnswerError if the answer is not S3's."""
    if answer.get(name) is None:
        raise BadAnswerError(f"No{name}")
    return answer[name]


class BucketAccess:
    """What another client than botocore needs to reach a bucket.

    Attributes:
        endpoint: URL of the server.
        region: the bucket's.
        credentials: what gives key, secret, token and whether they rotate; None for anonymous access.
    """

    def __init__(self, endpoint: str, region: str, credentials: Callable[[], dict[str, Any]] | None) -> None:
        self.endpoint = endpoint
        self.region = region
        self.credentials = credentials


class S3Client:
    """The requests of an s3fs filesystem, with retries and named errors.

    Args:
        fs: made in this process.
        on_throttled: called for each attempt that the store throttles, with the bucket and "read" or
            "write".
    """

    def __init__(self, fs: Any, on_throttled: Callable[[str, Direction], None] = lambda *_: None) -> None:
        self.fs = fs
        self._on_throttled = on_throttled

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the event loop of the client."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.fs.loop)

    def is_here(self) -> bool:
        """Whether this is the thread of the event loop, which must not wait for itself.

        The garbage collector runs in any thread, and so does what an abandoned writer does at its end.
        """
        try:
            return asyncio.get_running_loop() is self.fs.loop
        except RuntimeError:
            return False

    def call(self, method: str, **arguments: Any) -> Any:
        """Send a request, by botocore's name of the method, and wait for the answer. Raises NoAnswerError."""
        return wait_for(self.submit(self.request(method, **arguments)))

    async def request(self, method: str, **arguments: Any) -> Any:
        """As `call`, as a coroutine on the client's event loop; bodies are `bytes` (see `send`)."""
        await self._connect()
        self._heed(method, arguments)

        async def attempt() -> Any:
            try:
                return await self.fs._call_s3(method, **arguments)
            except (RecursionError, LookupError, TypeError, AttributeError) as error:
                # botocore looks for what the answer of a store always has, a redirect's region say.
                raise BadAnswerError(type(error).__name__) from None
            except Exception as error:
                if isinstance(error, OSError) or not is_of_parser(error, "botocore.parsers"):
                    raise
                raise BadAnswerError(type(error).__name__) from None

        # Nothing else can have been changed; of a whole object, at its completion, it will be said each time.
        has_body = "Body" in arguments or "Delete" in arguments
        return await (again_if_damaged(attempt) if has_body else attempt())

    def call_once(self, method: str, **arguments: Any) -> Any:
        """Send a request that is expected to be refused, without botocore's retries."""
        return wait_for(self.submit(self._once(method, arguments)))

    async def _once(self, method: str, arguments: dict[str, Any]) -> Any:
        from botocore.exceptions import ClientError
        from s3fs.errors import translate_boto_error

        client = await self._client(arguments["Bucket"])
        ONCE.set(True)
        try:
            return await getattr(client, method)(**arguments)
        except ClientError as error:
            raise translate_boto_error(error) from error

    def _heed(self, method: str, arguments: Mapping[str, Any]) -> None:
        if "Bucket" in arguments:
            direction: Direction = "read" if method.startswith(_READS) else "write"
            ON_THROTTLED.set(partial(self._on_throttled, arguments["Bucket"], direction))

    async def _connect(self) -> None:
        """Make s3fs create its client. Raises SetupError."""
        try:
            await self.fs.set_session()
        except ValueError as error:
            if "Invalid endpoint" in str(error):
                raise SetupError("EndpointWithoutScheme") from None
            raise

    def has_answered(self) -> None:
        """Note that the store has answered: from now on failures are worth retrying."""
        has_answered(self.fs)

    def get(self, bucket: str, key: str, most: int, **arguments: Any) -> tuple[bytes, dict[str, Any]]:
        """Read an object; returns body and answer. A longer body is cut one byte after the limit `most`."""
        return wait_for(self.submit(self._get(bucket, key, most, arguments)), most)

    def get_range(self, bucket: str, key: str, start: int, stop: int, **arguments: Any) -> bytes:
        """Read the bytes from start to stop; fewer only at the end of the object. Raises BadAnswerError."""
        part = f"bytes={start}-{stop - 1}"
        body, answer = self.get(bucket, key, stop - start, Range=part, **arguments)
        require_range(answer.get("ContentRange"), start, stop, len(body))
        return body

    async def _get(self, bucket: str, key: str, most: int, arguments: Any) -> tuple[bytes, dict[str, Any]]:
        from s3fs import core

        for attempt in range(1, _TRIES + 1):
            response = await self.request("get_object", Bucket=bucket, Key=key, **arguments)
            try:
                async with response["Body"] as body:
                    return await read_some(body.read, most + 1), response
            except (OSError, *core.S3_RETRYABLE_ERRORS):
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    async def send(self, method: str, body: Body, **arguments: Any) -> dict[str, Any]:
        """Send an object or a part, from its first byte in every attempt; returns the answer."""
        from s3fs import core

        self._heed(method, arguments)
        client = await self._client(arguments["Bucket"])
        ask = getattr(client, method)
        arguments = self.fs._get_s3_method_kwargs(ask, Body=body, **arguments)

        async def attempt() -> dict[str, Any]:
            # s3fs would send what is left of it after the attempt before: nothing, and call it stored.
            body.seek(0)
            answer: dict[str, Any] = await ask(**arguments)
            return answer

        answer: dict[str, Any] = await again_if_damaged(
            lambda: core._error_wrapper(attempt, retries=self.fs.retries)
        )
        return answer

    async def create_upload(self, attempts: list[None], **arguments: Any) -> tuple[str, bool]:
        """Start a multipart upload; returns its id, and whether the store keeps a checksum of the object.

        `attempts` gets an item for each request that was sent: each may have begun an upload whose id was
        lost with the answer.
        """
        client = await self._client(arguments["Bucket"])
        client.meta.events.register(_CREATE, _count_attempt, unique_id="cpr-attempts")
        _attempts.set(attempts)
        if self._may_keep_checksums(client):
            try:
                answer = await self.request("create_multipart_upload", **arguments, **WHOLE_OBJECT)
            except OSError as error:
                if code_of(error) not in _NOT_OFFERED:
                    raise
                # It knows no such checksum; botocore's own is asked for.
                attempts.clear()
            else:
                keeps = answer.get("ChecksumType") == WHOLE_OBJECT["ChecksumType"]
                setattr(self.fs, _KEEPS_CHECKSUMS, keeps)
                return str(required(answer, "UploadId")), keeps
            setattr(self.fs, _KEEPS_CHECKSUMS, False)
        answer = await self.request("create_multipart_upload", **arguments)
        return str(required(answer, "UploadId")), False

    def _may_keep_checksums(self, client: Any) -> bool:
        """Whether to ask for checksums of whole objects: not if the user has chosen others."""
        return (
            getattr(self.fs, _KEEPS_CHECKSUMS, True)
            and client.meta.config.request_checksum_calculation != _ONLY_WHERE_REQUIRED
            and not any("checksum" in name.lower() for name in self.fs.s3_additional_kwargs)
            and can_compute()
        )

    def access(self, bucket: str) -> BucketAccess | None:
        """What another client needs to reach a bucket; None if only botocore understands the settings."""
        if not self._is_plain():
            return None
        client = wait_for(self.submit(self._client(bucket)))
        endpoint = client.meta.endpoint_url
        if endpoint.startswith("https://") and "AWS_CA_BUNDLE" in os.environ:
            return None
        region = client.meta.region_name or "us-east-1"
        if "amazonaws.com" in endpoint:
            head = wait_for(self.submit(client.head_bucket(Bucket=bucket)))
            region = head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"]
        return BucketAccess(endpoint, region, None if self.fs.anon else self._credentials(client))

    async def _client(self, bucket: str) -> Any:
        await self._connect()
        return await self.fs.get_s3(bucket)

    def _is_plain(self) -> bool:
        """Whether no setting is used that only s3fs and botocore understand."""
        fs = self.fs
        extra = set(fs.client_kwargs) - {"endpoint_url", "region_name"}
        special = set(fs.config_kwargs) - {"s3", "max_pool_connections"} | set(
            fs.config_kwargs.get("s3", ())
        ) - {"payload_signing_enabled"}
        return not (extra or special or fs.req_kw or fs.s3_additional_kwargs or fs.version_aware)

    def _credentials(self, client: Any) -> Callable[[], dict[str, Any]]:
        """A provider of botocore's credentials, refreshed when they rotate."""
        credentials = client._request_signer._credentials
        # Not the filesystem: it has what asks for them, and neither would ever be let go of.
        loop = self.fs.loop

        def provide() -> dict[str, Any]:
            frozen = asyncio.run_coroutine_threadsafe(credentials.get_frozen_credentials(), loop).result(60)
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                "rotate": hasattr(credentials, "refresh_needed"),
            }

        return provide


def _count_attempt(**_: Any) -> None:
    attempts = _attempts.get()
    if attempts is not None:
        attempts.append(None)
