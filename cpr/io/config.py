"""The local table of storage options: options for each URL prefix, and the places that records may name.

One process may need two endpoints at once: inputs from a public bucket, results in a MinIO. `CPR_STORAGE`
names a file, TOML or JSON, or holds the JSON itself:

    records = ["s3://lab-results", "/data/results"]     # records may name nothing else; optional

    [places."s3://lab-results"]
    endpoint_url = "http://minio:9000"
    profile = "lab"

    [places."s3://open-data"]
    endpoint_url = "https://s3.amazonaws.com"
    anon = true

A URL takes the options of the longest prefix that covers it, folder by folder ("s3://lab" does not cover
"s3://lab-results"), and none of the others'. What these do not say comes from fsspec's configuration and the
environment. The table is each process's own: it is in no record, pickle, repr, log or error. It is read again
when the variable, or the file's time or size, has changed; replace the file in one step.
"""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fsspec import available_protocols

from cpr.errors import ConfigurationError
from cpr.io.fork_safe import PerProcess
from cpr.io.protocols import is_known, kind_of
from cpr.io.url_secrets import CONFIGURATION_VARIABLE, redact_url, secret_in

__all__ = ["VARIABLE", "Table", "current_table", "steps_of"]

VARIABLE = CONFIGURATION_VARIABLE

Steps = tuple[str, ...]

# How filesystems are made is cpr's to say; and nothing here may lead to another filesystem.
_NOT_OPTIONS = {
    *("asynchronous", "loop", "skip_instance_cache", "use_listings_cache"),
    *("fo", "fs", "protocol", "target_options", "target_protocol"),
}
_VALUES = "a string, a finite number, true, false, null, or a list or table of those"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Table:
    """The configuration of this process.

    Attributes:
        places: storage options of prefixes, by the prefixes' steps.
        records: the prefixes that records may name; None where they may name any.
    """

    places: Mapping[Steps, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    records: Mapping[Steps, str] | None = None

    def options_for(self, url: str) -> Mapping[str, Any]:
        """The storage options of the longest prefix that covers a URL; empty if none does."""
        return _longest(self.places, url) or {}

    def knows(self, url: str) -> bool:
        """Whether a URL is below a prefix that has options or is listed in `records`."""
        return _longest(self.places, url) is not None or _longest(self.records or {}, url) is not None

    def allows(self, url: str) -> bool:
        """Whether records may name a URL."""
        return self.records is None or _longest(self.records, url) is not None


def _longest(prefixes: Mapping[Steps, Any], url: str) -> Any:
    if not prefixes:
        return None
    steps = steps_of(url)
    # The first step is the protocol.
    return next((prefixes[steps[:end]] for end in range(len(steps), 0, -1) if steps[:end] in prefixes), None)


def steps_of(url: str) -> Steps:
    """Split a URL or local path into protocol, bucket or host, and folders; `s3a` equals `s3`.

    >>> steps_of("s3a://bucket/raw/")[1:], steps_of("/data/raw")
    (('bucket', 'raw'), ('file', 'data', 'raw'))
    """
    protocol, _, rest = url.partition("://") if "://" in url else ("file", "", url)
    return kind_of(protocol).name, *(step for step in rest.split("/") if step)


_tables: PerProcess[tuple[Any, ...], Table] = PerProcess()


def current_table() -> Table:
    """The present table of this process. Raises ConfigurationError, naming the file and the field."""
    setting = os.environ.get(VARIABLE, "").strip()
    if not setting:
        return _NOTHING
    if setting.startswith("{"):
        signature: tuple[Any, ...] = (setting,)
    else:
        setting = os.path.expanduser(setting)
        try:
            about = os.stat(setting)
        except OSError as error:
            raise _unreadable(setting, error) from None
        signature = (setting, about.st_mtime_ns, about.st_size, about.st_ino)
    with _tables.lock:
        if (table := _tables.known.get(signature)) is None:
            table = _read(setting)
            _tables.known.clear()
            _tables.known[signature] = table
    return table


_NOTHING = Table()


def _read(setting: str) -> Table:
    inline = setting.startswith("{")
    name = VARIABLE if inline else setting
    if inline:
        text = setting
    else:
        try:
            with open(setting, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(setting, error) from None
    try:
        found = tomllib.loads(text) if name.endswith(".toml") else json.loads(text)
    except (ValueError, RecursionError) as error:
        # The message is not repeated: it may quote a secret.
        line = getattr(error, "lineno", None) or _number(r"line (\d+)", str(error))
        raise _wrong(
            name, None, "TOML" if name.endswith(".toml") else "JSON", f"an error in line {line}"
        ) from None
    _require_table(name, None, found)
    for key in found:
        if key not in ("places", "records"):
            raise _wrong(name, _shown(key), "places or records", "an unknown field")
    return Table(_places(name, found.get("places", {})), _records(name, found.get("records")))


def _number(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else "?"


def _places(name: str, found: Any) -> dict[Steps, dict[str, Any]]:
    _require_table(name, "places", found)
    places: dict[Steps, dict[str, Any]] = {}
    for prefix, options in found.items():
        where = f"places.{_shown(prefix)}"
        steps = _steps(name, where, prefix)
        if steps[0] == "file":
            raise _wrong(name, where, "a URL with a protocol; local files have no options", "a local path")
        if steps in places:
            raise _wrong(name, where, "each place once", "a place that is there already")
        _require_table(name, where, options)
        for option, value in options.items():
            at = f"{where}.{_shown(option)}"
            if option in _NOT_OPTIONS:
                raise _wrong(name, at, "an option of the filesystem", "one that is cpr's own to set")
            _require_plain(name, at, value)
        places[steps] = options
    return places


def _records(name: str, found: Any) -> dict[Steps, str] | None:
    if found is None:
        return None
    if not isinstance(found, list):
        raise _wrong(name, "records", "a list of prefixes of URLs", _kind(found))
    return {_steps(name, f"records[{index}]", prefix): str(prefix) for index, prefix in enumerate(found)}


def _steps(name: str, where: str, prefix: Any) -> Steps:
    expected = "a prefix of URLs such as s3://bucket/folder, or an absolute local path"
    if not isinstance(prefix, str) or not prefix or _CONTROL.search(prefix):
        raise _wrong(name, where, expected, _kind(prefix))
    protocol, marker, _ = prefix.partition("://")
    if "::" in prefix or ".." in re.split(r"[/\\]", prefix) or not (marker or os.path.isabs(prefix)):
        raise _wrong(name, where, expected, "something else")
    if secret_in(prefix):
        raise _wrong(name, where, "a prefix without a password; options hold it", "a password")
    if marker and not is_known(protocol) and protocol not in available_protocols():
        raise _wrong(name, where, "a protocol of fsspec's", _shown(protocol))
    return steps_of(prefix)


def _require_table(name: str, where: str | None, found: Any) -> None:
    if not isinstance(found, dict):
        raise _wrong(name, where, "a table", _kind(found))


def _require_plain(name: str, where: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, one in value.items():
            _require_plain(name, f"{where}.{_shown(key)}", one)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _require_plain(name, f"{where}[{index}]", one)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong(name, where, _VALUES, "no finite number")
    elif value is not None and not isinstance(value, (str, int, float, bool)):
        raise _wrong(name, where, _VALUES, _kind(value))


def _kind(value: Any) -> str:
    """The type of a value for errors, never the value: it may be a secret."""
    return "nothing" if value is None or value == "" else f"a {type(value).__name__}"


def _shown(name: object) -> str:
    """A name as an error shows it."""
    return ascii(redact_url(str(name)))[:100]


def _wrong(name: str, where: str | None, expected: str, actual: str) -> ConfigurationError:
    return ConfigurationError(
        "the table of storage options is not as it should be",
        url=name,
        field=where,
        expected=expected,
        actual=actual,
        remedy=f"correct it; what it is to look like stands in the README, {VARIABLE} names it",
    )


def _unreadable(path: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        "the table of storage options cannot be read",
        url=path,
        field=VARIABLE,
        expected="a TOML or JSON file in UTF-8, or JSON itself",
        actual=type(error).__name__,
        remedy=f"correct {VARIABLE}, or unset it",
    )
