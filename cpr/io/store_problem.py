"""Finds out what is wrong with a store and makes the error, by the table in `cpr.io.store_problem_table`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cpr.errors import ResourceError, TransferError
from cpr.io.protocols import StorageKind, kind_of
from cpr.io.urls import protocol_of

__all__ = ["StoreProblem"]


@dataclass(frozen=True)
class StoreProblem:
    """A row of the table: how to recognise a problem, and how to describe it.

    Texts may have the fields `{verb}`, `{bucket}`, `{location}`, `{endpoint}` (what sets it) and `{right}`.

    Attributes:
        topic: its heading in docs/errors.md.
        codes: what stores and clients call it.
        problem: what is wrong, in one clause.
        expected: what would be right.
        remedy: what to do.
        cls: of the error.
    """

    topic: str
    codes: tuple[str, ...]
    problem: str
    expected: str
    remedy: str
    cls: type[ResourceError] = TransferError

    def error(self, url: str, verb: str, code: str) -> ResourceError:
        """Make the error for a URL: of a request (`verb`) that was refused (`code`)."""
        kind = kind_of(protocol_of(url))
        place = url.partition("://")[2] if "://" in url else url
        fields = {
            "verb": verb,
            "bucket": place.partition("/")[0],
            "location": url.rpartition("/")[0] if "://" in url else _existing_folder(url),
            "endpoint": _endpoint_setting(kind.endpoint),
            "right": _right(kind, verb, url),
        }
        return self.cls(
            self.problem.format_map(fields),
            url=url,
            expected=self.expected.format_map(fields),
            actual=code,
            remedy=self.remedy.format_map(fields),
            topic=self.topic,
        )


def _endpoint_setting(variables: tuple[str, ...]) -> str:
    """Name of the setting that determines the endpoint; never its value, which is private."""
    if not variables:
        return "the URL"
    return next((name for name in variables if os.environ.get(name)), f"the endpoint ({variables[-1]})")


def _right(kind: StorageKind, verb: str, url: str) -> str:
    """Advice on a missing permission."""
    if kind.right is not None:
        return kind.right(verb)
    owner = "let the owner of the folder" if "://" in url else f"let the owner of '{_existing_folder(url)}'"
    return f"{owner} give this user the right (chmod, chown)"


def _existing_folder(url: str) -> str:
    """The innermost existing and accessible folder of a local path."""
    folder = url
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder
