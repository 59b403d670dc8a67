"""The stores that speak HTTP, each behind a proxy that changes what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

__all__ = ["HTTP_STORES", "store_behind"]

HTTP_STORES = [
    pytest.param("s3", marks=pytest.mark.s3),
    "gs",
    pytest.param("az", marks=[pytest.mark.azure, pytest.mark.xdist_group("azure")]),
]
"""Parameters of a fixture: a store by its protocol."""

_SERVERS = {"s3": "s3_server", "gs": "gcs_server", "az": "azure_server"}
_S3_ENDPOINTS = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "FSSPEC_S3_ENDPOINT_URL"]


@contextmanager
def store_behind(
    make: type[AbstractContextManager[Any]], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str, Any]]:
    """The fixture's store behind a proxy of this kind: its protocol, a folder there, and the proxy."""
    server = request.getfixturevalue(_SERVERS[request.param])
    base = request.getfixturevalue(f"{request.param}_url")
    with make(server.endpoint) as proxy:
        variables = {
            "s3": dict.fromkeys(_S3_ENDPOINTS, proxy.endpoint),
            "gs": {"STORAGE_EMULATOR_HOST": proxy.endpoint},
            "az": server.environment(proxy.endpoint) if request.param == "az" else {},
        }
        for name, value in variables[request.param].items():
            monkeypatch.setenv(name, value)
        yield request.param, base, proxy
