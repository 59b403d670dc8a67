"""What stores raise, as cpr's errors.

The text of a foreign exception is not repeated, for it may name an endpoint or a credential; its
type and the store's error code are, which is what one searches for.
"""

from __future__ import annotations

import errno
import re

from cpr.errors import CprError, ResourceNotFoundError, TransferError
from cpr.io.waiting import VARIABLE, NoAnswerError, is_interruption

__all__ = ["BadAnswerError", "code_of", "require_range", "translate_errors"]


class BadAnswerError(OSError):
    """Something has answered that is no such store, or less than it says; `code` says what was wrong."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def require_range(header: str | None, start: int, stop: int, nbytes: int) -> None:
    """Raise BadAnswerError unless a `Content-Range` says that the bytes are those asked for, and all."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", header or "")
    if found is None:
        raise BadAnswerError("RangeIgnored")
    first, last = int(found[1]), int(found[2])
    size = stop if found[3] == "*" else int(found[3])
    if first != start or last != min(stop, size) - 1:
        raise BadAnswerError("WrongRange")
    if nbytes != last - first + 1:
        raise BadAnswerError("IncompleteBody")


# Clients raise errors of their own beside OSError; these are theirs.
_CLIENTS = frozenset(
    "botocore aiobotocore boto3 aiohttp s3fs gcsfs google requests urllib3 azure adlfs paramiko "
    "smbprotocol sshfs fsspec obstore".split()
)

_REMEDIES = {
    errno.ENOSPC: ("the disk is full", "free some space, or write elsewhere"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write elsewhere"),
    errno.EROFS: ("the folder is on a read-only file system", "write to a folder you may write to"),
    errno.EISDIR: ("the path is a folder", "name a file"),
    errno.ENXIO: ("the path is a pipe, a socket or a device", "name a file"),
    errno.ELOOP: ("the path is a link that leads to itself", "name a file"),
    errno.ENOTDIR: ("part of the path is a file, not a folder", "choose another folder"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
}


class translate_errors:  # noqa: N801 - it is used like a function
    """Raise what a store or its client raises inside as ResourceNotFoundError or TransferError.

    `verb` is the verb for the message: "read", "write", "list". Errors that no store raises (a
    TypeError, say) are bugs and pass.
    """

    # A class, for it is entered half a dozen times for each object: a generator takes five times as long.
    def __init__(self, url: str, verb: str) -> None:
        self._url = url
        self._verb = verb

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            return
        if isinstance(error, CprError):
            _forget_context(error)
            return
        failure = self._translation(error)
        if failure is not None:
            try:
                raise failure from None
            except CprError:
                _forget_context(failure)
                raise

    def _translation(self, error: BaseException) -> CprError | None:
        if is_interruption(error) or _is_from_outside(error):
            return None
        if isinstance(error, FileNotFoundError):
            return _not_found(self._url, code_of(error))
        return _failure(self._url, self._verb, error) if isinstance(error, Exception) else None


def _is_from_outside(error: BaseException) -> bool:
    """Whether this is a time limit of somebody else's: of a task, say, whose runner raises it anywhere."""
    if not isinstance(error, TimeoutError):
        return False
    return type(error).__module__.partition(".")[0] not in {"builtins", "asyncio", "socket", "cpr", *_CLIENTS}


def _forget_context(failure: CprError) -> None:
    """Let go of what the client raised: hidden by `from None` it still hangs there, with endpoint or key."""
    if failure.__cause__ is None and not isinstance(failure.__context__, CprError):
        failure.__context__ = None


def _not_found(url: str, code: str | None) -> ResourceNotFoundError:
    if code == "NoSuchBucket":
        return ResourceNotFoundError(
            "there is no such bucket",
            url=url,
            expected="an existing bucket",
            actual=code,
            remedy="create the bucket, or correct its name; cpr never creates one",
        )
    return ResourceNotFoundError(
        "there is no such object",
        url=url,
        expected="an existing object",
        actual=code or "nothing",
        remedy="check the URL; a deleted result is made again when its task runs again",
    )


def _failure(url: str, verb: str, error: Exception) -> CprError | None:
    code = code_of(error)
    if code == "NoSuchBucket":
        return _not_found(url, code)
    name = code or type(error).__name__
    if isinstance(error, NoAnswerError):
        return TransferError(
            f"the store did not answer in time, when asked to {verb}",
            url=url,
            expected="an answer within the limit",
            actual=str(error),
            remedy=f"check the store and the network to it, then try again; {VARIABLE}=300 waits longer",
        )
    if isinstance(error, BadAnswerError):
        return TransferError(
            f"what answered when asked to {verb} is no store of this kind, or broken",
            url=url,
            expected="the answer of such a store",
            actual=name,
            remedy="check that the endpoint is the store's, and what is in between (a proxy, a login page)",
        )
    if isinstance(error, PermissionError) or code in ("403", "AccessDenied", "Forbidden"):
        return TransferError(
            f"no permission to {verb} here",
            url=url,
            expected=f"the right to {verb}",
            actual=name,
            remedy="check the credentials and the policy of the bucket, or the owner of the folder",
        )
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        problem, remedy = _REMEDIES[error.errno]
        code = errno.errorcode[error.errno]
        return TransferError(problem, url=url, expected=f"a place to {verb}", actual=code, remedy=remedy)
    if "Credentials" in name or "Auth" in name or code == "401":
        return TransferError(
            "there are no usable credentials",
            url=url,
            expected="credentials in the environment or in fsspec's configuration",
            actual=name,
            remedy="set the provider's variables: for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for "
            "GCS GOOGLE_APPLICATION_CREDENTIALS, for others fsspec's configuration",
        )
    # An EOFError is paramiko's word for a connection that has ended.
    if isinstance(error, (OSError, EOFError)) or type(error).__module__.partition(".")[0] in _CLIENTS:
        return TransferError(
            f"the store could not {verb} the object",
            url=url,
            expected="an answer from the store",
            actual=name,
            remedy="check that the store is up and the endpoint right, then try again",
        )
    return None


def code_of(error: BaseException) -> str | None:
    """The store's own error code (`NoSuchBucket`, `SlowDown`), where the exception carries one."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)
        if isinstance(response, dict):
            code = response.get("Error", {}).get("Code")
            return str(code) if code else None
        status = getattr(seen, "code", None)
        if isinstance(status, (int, str)):
            return str(status)
        seen = seen.__cause__
    return None
