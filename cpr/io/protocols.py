"""The table of storage kinds: one row for each, from which everything about its protocols is derived.

A row decides which class serves a URL, whether an untrusted record may name it, which part of a URL is a host
or a bucket, which extra installs the client, which options the client gets, and which environment variables
it reads. A new kind of storage is a module with its `Store`, a row here, and its extra in `pyproject.toml`.
Another package calls `register_storage`, or announces its row by an entry point in the group `cpr.storage`,
named like the protocol, so that new workers find it.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from cpr.errors import DuplicateTypeError
from cpr.io.clients import adlfs, gcsfs, paramiko, s3_retries, s3fs

__all__ = ["StorageKind", "all_kinds", "kind_of", "load_store", "register_storage"]

ENTRY_POINT_GROUP = "cpr.storage"


def _no_options(given: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return {}


def _nothing_to_set(fs: Any) -> None:
    pass


@dataclass(frozen=True)
class StorageKind:
    """A row of the table: what is known of a kind of storage without a request.

    Attributes:
        protocols: its names in URLs. The first is the one in URLs of listings.
        store: the class of its store, `package.module:Class` (see `cpr.io.stores.base.Store`).
        authority: the meaning of what is between `://` and the next slash: the name of a "bucket", which does
            not determine the server; a "host", which is connected to and receives our credentials; a
            "container", which a client may resolve to a host; or "none".
        literal_keys: whether `?` and `#` are characters of a key like any other.
        in_records: whether a record may name it: it only holds objects, and forwards or interprets nothing.
        extra: the extra of this distribution that installs its client.
        variables: prefixes of the names of the environment variables that its client reads.
        endpoint: the variables that set its endpoint; the first one that is set counts.
        client_options: makes default options of the client from those that the user has set.
        right: gives advice on a missing permission, for a verb ("read", "write", "list", "delete").
        settle: called with every new filesystem, before it is used.
    """

    protocols: tuple[str, ...]
    store: str = "cpr.io.stores.fsspec:FsspecStore"
    authority: Literal["bucket", "host", "container", "none"] = "container"
    literal_keys: bool = False
    in_records: bool = True
    extra: str | None = None
    variables: tuple[str, ...] = ()
    endpoint: tuple[str, ...] = ()
    client_options: Callable[[Mapping[str, Any]], dict[str, Any]] = _no_options
    right: Callable[[str], str] | None = None
    settle: Callable[[Any], None] = _nothing_to_set

    @property
    def name(self) -> str:
        """The protocol used in URLs of listings; the same for all protocols of the kind."""
        return self.protocols[0]


_BUILT_IN = (
    StorageKind(("file", "local"), "cpr.io.stores.local:LocalStore", "none", literal_keys=True),
    StorageKind(("memory",), "cpr.io.stores.memory:MemoryStore", "none", literal_keys=True),
    StorageKind(
        ("s3", "s3a"),
        "cpr.io.stores.s3:S3Store",
        "bucket",
        literal_keys=True,
        extra="s3",
        variables=("AWS_",),
        endpoint=("FSSPEC_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        client_options=s3fs.client_options,
        right=s3fs.right,
        settle=s3_retries.limit_retries,
    ),
    StorageKind(
        ("gs", "gcs"),
        "cpr.io.stores.gcs:GCSStore",
        "bucket",
        literal_keys=True,
        extra="gcs",
        variables=("GOOGLE_", "STORAGE_EMULATOR", "GCSFS_"),
        endpoint=("FSSPEC_GS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"),
        client_options=gcsfs.client_options,
        right=gcsfs.right,
    ),
    StorageKind(
        ("az", "abfs", "abfss"),
        "cpr.io.stores.azure:AzureStore",
        literal_keys=True,
        extra="azure",
        variables=("AZURE_",),
        endpoint=("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"),
        client_options=adlfs.client_options,
        right=adlfs.right,
        settle=adlfs.settle,
    ),
    StorageKind(("r2",), authority="bucket", literal_keys=True),
    StorageKind(("oss",), authority="bucket", literal_keys=True),
    StorageKind(
        ("sftp", "ssh"),
        "cpr.io.stores.sftp:SFTPStore",
        "host",
        literal_keys=True,
        client_options=paramiko.client_options,
        settle=paramiko.settle,
    ),
    StorageKind(("smb",), authority="host"),
    StorageKind(("hdfs",), authority="host"),
    StorageKind(("webhdfs",), authority="host"),
    StorageKind(("adl",), variables=("AZURE_",)),
    StorageKind(("oci",)),
    StorageKind(("hf",)),
    StorageKind(("lakefs",)),
    StorageKind(("http", "https"), authority="host", in_records=False),
)

_table: dict[str, StorageKind] = {protocol: kind for kind in _BUILT_IN for protocol in kind.protocols}


def register_storage(kind: StorageKind) -> StorageKind:
    """Register a kind of storage; from now on its store serves URLs of its protocols.

    Raises DuplicateTypeError if one of its protocols belongs to another kind.
    """
    for protocol in kind.protocols:
        if _table.get(protocol, kind) != kind:
            raise DuplicateTypeError(
                "two kinds of storage claim one protocol",
                field=protocol,
                expected=_table[protocol].store,
                actual=kind.store,
                remedy="give the new one another protocol",
            )
    _table.update(dict.fromkeys(kind.protocols, kind))
    return kind


def kind_of(protocol: str) -> StorageKind:
    """The row of a protocol; for an unknown one, a row with the abilities of fsspec alone."""
    kind = _table.get(protocol)
    if kind is None:
        entry = _plug_ins(tuple(sys.path)).get(protocol)
        kind = StorageKind((protocol,), in_records=False) if entry is None else register_storage(entry.load())
    return kind


def is_known(protocol: str) -> bool:
    """Whether a protocol has a row, here or in an installed package."""
    return protocol in _table or protocol in _plug_ins(tuple(sys.path))


def all_kinds() -> list[StorageKind]:
    """Every kind that has a row, including those of installed packages."""
    for protocol in _plug_ins(tuple(sys.path)):
        kind_of(protocol)
    return list(dict.fromkeys(_table.values()))


@functools.cache
def load_store(name: str) -> Any:
    """Import the class at `package.module:Class`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


@functools.cache
def _plug_ins(path: tuple[str, ...]) -> dict[str, EntryPoint]:  # noqa: ARG001 - what is installed depends on it
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
