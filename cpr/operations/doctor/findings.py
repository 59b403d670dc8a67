"""What an examination finds, and what errors of a store come to in plain words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cpr.errors import CprError

__all__ = ["Finding", "Status", "check", "diagnosed", "good", "poor", "wrong"]

Status = Literal["good", "poor", "wrong", "not tried"]


@dataclass(frozen=True)
class Finding:
    """What one check came to.

    Attributes:
        check: its name: "atomic writes".
        status: "good"; "poor": cpr works, with less than could be; "wrong": cpr cannot rely on this store as
            it is; "not tried".
        text: what was found, in a sentence.
        remedy: what to do about it; None if nothing is needed.
        figures: measured numbers, by name.
    """

    check: str
    status: Status
    text: str
    remedy: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


def good(text: str, **figures: float) -> Finding:
    """All is well."""
    return Finding("", "good", text, None, figures)


def poor(text: str, remedy: str, **figures: float) -> Finding:
    """It works, with less than could be."""
    return Finding("", "poor", text, remedy, figures)


def wrong(text: str, remedy: str | None, **figures: float) -> Finding:
    """This cannot be relied on."""
    return Finding("", "wrong", text, remedy, figures)


def check(name: str, action: str) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Decorator of a function that tries something out: names what it finds, and what the store raises.

    Args:
        name: of the check.
        action: what is tried, as "list objects".
    """

    def named(function: Callable[..., Finding]) -> Callable[..., Finding]:
        @functools.wraps(function)
        def run(*args: Any) -> Finding:
            try:
                return replace(function(*args), check=name)
            except CprError as error:
                return diagnosed(name, action, error)

        run.check = name  # type: ignore[attr-defined]
        return run

    return named


_ENDPOINT = (
    "nothing that speaks this store's language answers at the endpoint",
    (
        "check the endpoint (for S3 AWS_ENDPOINT_URL; host, port, http or https), and that the server is up "
        "and no proxy or firewall is in between"
    ),
)
_KEY = (
    "the store does not know this key",
    (
        "check AWS_ACCESS_KEY_ID, AWS_PROFILE or what the provider calls it: it may be of another account or "
        "server, or may have been deleted"
    ),
)

# Codes of S3 and names of client exceptions: what is wrong, and what to do.
_MEANINGS: Mapping[str, tuple[str, str]] = {
    "InvalidAccessKeyId": _KEY,
    "InvalidClientTokenId": _KEY,
    "SignatureDoesNotMatch": (
        "the secret key does not fit the key",
        (
            "set AWS_SECRET_ACCESS_KEY anew: copying often adds a space or loses a character; a proxy that "
            "rewrites requests does this too"
        ),
    ),
    "ExpiredToken": ("the session has expired", "log in again, for example with aws sso login"),
    "InvalidToken": ("the session token is not of this key", "unset AWS_SESSION_TOKEN, or log in again"),
    "RequestTimeTooSkewed": (
        "the clocks of this machine and of the store differ by more than the store accepts",
        "set this machine's clock by NTP (timedatectl set-ntp true), or the server's",
    ),
    "NoSuchBucket": (
        "there is no such bucket",
        "create the bucket, or correct its name; cpr never creates one",
    ),
    "AllAccessDisabled": ("the bucket is locked", "ask who owns the account"),
    "PermanentRedirect": ("the bucket is in another region", "set AWS_REGION to the bucket's region"),
    "AuthorizationHeaderMalformed": (
        "requests are signed for another region than the bucket's",
        "set AWS_REGION to the bucket's region",
    ),
    "NoCredentialsError": (
        "there are no credentials",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is given",
    ),
    **dict.fromkeys(
        (
            "EndpointConnectionError",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "ConnectionError",
            "ConnectionRefusedError",
            "ClientConnectorError",
            "ClientConnectorDNSError",
            "ClientError",
            "ConnectionClosedError",
            "ResponseParserError",
            "SSLError",
            "InvalidURL",
            "gaierror",
            "TimeoutError",
            "OSError",
            "400",
            "404",
            "405",
            "MethodNotAllowed",
        ),
        _ENDPOINT,
    ),
}


def diagnosed(check: str, action: str, error: CprError) -> Finding:
    """A finding from what a store has raised.

    Args:
        check: its name.
        action: what was refused, as "list objects".
        error: what was raised.
    """
    code = str(error.actual or type(error).__name__)
    if code in _MEANINGS:
        problem, remedy = _MEANINGS[code]
        return Finding(check, "wrong", f"{problem} ({code})", remedy)
    if error.problem.startswith("no permission") or code in ("403", "AccessDenied", "Forbidden"):
        return Finding(
            check,
            "wrong",
            f"these credentials may not {action} here ({code})",
            f"let the policy of the bucket, or the owner of the folder, allow them to {action}",
        )
    return Finding(check, "wrong", f"{error.problem} ({code})", error.remedy)
