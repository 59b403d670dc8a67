"""Translates the exceptions of stores and their clients into cpr's errors.

The text of a foreign exception is not repeated, because it may contain an endpoint or a credential. Its type
and the store's error code are, because people search for these.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from cpr.errors import CprError
from cpr.io.answer_checks import code_of
from cpr.io.store_problem import StoreProblem
from cpr.io.store_problem_table import MISSING, OTHER, PROBLEMS
from cpr.io.timeouts import NoAnswerError, is_interruption

__all__ = ["translate_errors"]


# Clients raise errors of their own beside OSError; these are theirs.
_CLIENTS = frozenset(
    "botocore aiobotocore boto3 aiohttp s3fs gcsfs google requests urllib3 azure adlfs paramiko "
    "smbprotocol sshfs fsspec obstore".split()
)


_ROWS = {code: row for row in PROBLEMS for code in row.codes}


class translate_errors:  # noqa: N801 - it is used like a function
    """Translate what a store or its client raises in the block to ResourceNotFoundError or TransferError.

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
        return _failure(self._url, self._verb, error) if isinstance(error, Exception) else None


def _is_from_outside(error: BaseException) -> bool:
    """Whether this is somebody else's time limit, such as that of a task runner."""
    if not isinstance(error, TimeoutError):
        return False
    return type(error).__module__.partition(".")[0] not in {"builtins", "asyncio", "socket", "cpr", *_CLIENTS}


def _forget_context(failure: CprError) -> None:
    """Drop the client's exception: even after `from None` it is attached, and may contain a key."""
    if failure.__cause__ is None and not isinstance(failure.__context__, CprError):
        failure.__context__ = None


def _failure(url: str, verb: str, error: Exception) -> CprError | None:
    # An EOFError is paramiko's word for a connection that has ended.
    is_client = type(error).__module__.partition(".")[0] in _CLIENTS
    if not (is_client or isinstance(error, (OSError, EOFError))):
        return None
    problem, code = _find_problem(error, code_of(error), verb)
    failure = problem.error(url, verb, code)
    if isinstance(error, NoAnswerError):
        failure.actual = str(error)
    return failure


def _find_problem(error: BaseException, code: str | None, verb: str) -> tuple[StoreProblem, str]:
    """Find the table row for a client's exception, and the client's name for it.

    Args:
        error: the exception.
        code: the store's own error code, if there is one.
        verb: what the request was for.
    """
    names = [name for name in _codes_of(error, code) if name]
    telling = code if code is not None and not code.isdecimal() else None
    for name in names:
        if name in _ROWS:
            return _ROWS[name], telling or name
    if not isinstance(error, FileNotFoundError):
        return OTHER, telling or names[0]
    if verb == "write" and error.errno == errno.ENOENT and code is None:
        return _ROWS["FolderGone"], "ENOENT"  # who writes looks for nothing
    return MISSING, code or "nothing"


def _codes_of(error: BaseException, code: str | None) -> Iterator[str]:
    """What stores and clients call an error, the most specific name first."""
    is_status = code is not None and code.isdecimal()
    if code is not None and not is_status:
        yield code
    for cause in reversed(list(_causes(error))):
        reason = getattr(cause, "reason", None)  # of an ssl.SSLError
        if isinstance(reason, str):
            yield reason
        # Names first: errno of an SSLError is no errno.
        yield from (cls.__name__ for cls in type(cause).__mro__ if cls.__name__ in _ROWS)
        if code is None and isinstance(cause, OSError) and cause.errno is not None:
            yield errno.errorcode.get(cause.errno, "")
    if code is not None and is_status:
        yield code
    yield type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, each once."""
    found: BaseException | None = error
    seen: list[BaseException] = []
    while found is not None and found not in seen:
        seen.append(found)
        yield found
        given = getattr(found, "kwargs", None)  # botocore's
        inner = given.get("error") if isinstance(given, dict) else None
        inner = inner or getattr(found, "os_error", None) or getattr(found, "certificate_error", None)
        found = inner if isinstance(inner, BaseException) else found.__cause__
