"""As test_fault_injection.py, on Azure: every request of every transfer breaks once, in every way."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import cpr
from cpr.errors import CprError, TransferError
from cpr.io.clients import adlfs
from cpr.io.transfer_width import TransferWidth
from tests.faults.proxy import FAULTS, FaultProxy, Message
from tests.faults.test_fault_injection import (
    HEALED,
    MULTIPART,
    NPY,
    ROWS,
    SMALL,
    ZARR,
    planes,
    requests_of,
    require_equal_or_error,
    require_whole_listings,
    require_whole_or_nothing,
    upload,
)

pytestmark = [pytest.mark.azure, pytest.mark.slow]

CODES = {"500": "InternalError", "503": "ServerBusy", "403": "AuthorizationFailure", "412": "ConditionNotMet"}
SMALL_ONES = [SMALL[0], ZARR[0]]
small_ones = pytest.mark.parametrize("transfer", SMALL_ONES, ids=lambda transfer: transfer.name)
faults = pytest.mark.parametrize("fault", FAULTS)


def kind_of(request: Message) -> str:
    """What a request does, in S3's words."""
    method, target, _ = request.first.split(" ", 2)
    what = parse_qs(urlsplit(target).query).get("comp", [method.lower()])[0]
    return {"block": "part", "blocklist": "complete"}.get(what, what)


class Container:
    """What is really there, asked past the proxy."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def urls(self, base: str) -> set[str]:
        container, _, prefix = base.removeprefix("az://").partition("/")
        with self._server.client() as client:
            names = client.get_container_client(container).list_blob_names(name_starts_with=f"{prefix}/")
            return {f"az://{container}/{name}" for name in names}

    def open_uploads(self, base: str) -> list[str]:
        return []  # blocks without a list are nobody's, and go by themselves


@pytest.fixture(scope="module")
def running_proxy(azure_server) -> Iterator[FaultProxy]:
    with FaultProxy(azure_server.endpoint, kind_of, CODES) as proxy:
        yield proxy


@pytest.fixture
def proxy(azure_server, running_proxy, monkeypatch) -> Iterator[FaultProxy]:
    """As that of S3: the environment leads to the server through it."""
    running_proxy.clear()
    monkeypatch.setattr(TransferWidth, "is_far", False)
    monkeypatch.setattr(TransferWidth, "is_unknown", False)
    monkeypatch.setattr(TransferWidth, "block_bytes", 8 << 20)
    monkeypatch.setattr(adlfs, "_FIRST_WAIT_SECONDS", 0.001)
    for name, value in azure_server.environment(running_proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    yield running_proxy
    running_proxy.clear()


@pytest.fixture
def container(azure_server) -> Container:
    return Container(azure_server)


@pytest.mark.parametrize("fault", ["cut after", "flip request", "503"])
def test_uploads_in_blocks(fault, proxy, az_url, container):
    test_uploads(MULTIPART, fault, proxy, az_url, container)


@pytest.mark.long
@faults
def test_more_uploads_in_blocks(fault, proxy, az_url, container):
    test_uploads(MULTIPART, fault, proxy, az_url, container)


@small_ones
@faults
def test_uploads(transfer, fault, proxy, az_url, container):
    kinds = requests_of(proxy, lambda: upload(transfer, f"{az_url}/undisturbed"))
    assert "put" in kinds or {"part", "complete"} <= set(kinds)
    for number in range(len(kinds)):
        base = f"{az_url}/{number}"
        proxy.break_request(number, fault)
        target, record = upload(transfer, base)
        where = f"{fault} at request {number} of {kinds}: {record!r}"
        assert len(proxy.broken) == 1, where
        proxy.clear()
        if fault in HEALED:
            assert not isinstance(record, CprError), where
        require_whole_or_nothing(transfer, target, record, container, base)


@faults
def test_uploads_that_are_given_up(fault, proxy, az_url, container, monkeypatch):
    monkeypatch.setattr(TransferWidth, "requests", 3)
    for number in range(2):
        base = f"{az_url}/{number}"
        target = NPY.target(base)
        proxy.break_request(number, fault, "part")
        with pytest.raises((ArithmeticError, CprError)):
            target.set_data(planes(8, fail_at=7), shape=(8, ROWS, 1024), dtype="uint16")
        assert proxy.broken == [f"part: {fault}"]
        assert target.data_hash is None
        assert container.urls(base) == set()


@small_ones
@faults
def test_downloads(transfer, fault, proxy, azure_server, az_url):
    record, data = transfer.target(az_url).serialize(), transfer.data()
    require_equal_or_error(
        proxy, fault, lambda: transfer.read(record), lambda found: transfer.kind.equal(found, data)
    )


@faults
def test_listings(fault, proxy, az_url):
    require_whole_listings(fault, proxy, az_url)


@faults
def test_regions(fault, proxy, az_url):
    record, region = MULTIPART.target(f"{az_url}/{uuid.uuid4().hex}").serialize(), np.s_[1, 20:60]
    data = MULTIPART.data()[region]
    require_equal_or_error(
        proxy,
        fault,
        lambda: cpr.load(record).get_data(region=region),
        lambda found: np.array_equal(found, data),
    )


def test_blocks_that_another_writer_has_had_forgotten(azure_server, az_url, monkeypatch):
    """The service says so when the list is put, and what there is to do is to write again."""
    with FaultProxy(azure_server.endpoint, kind_of, {"403": "InvalidBlockList"}) as proxy:
        for name, value in azure_server.environment(proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        proxy.break_request(0, "403", "complete")
        target = MULTIPART.kind.target(az_url)
        with pytest.raises(TransferError, match="ended the upload") as caught:
            MULTIPART.fill(target)
        assert "run again" in caught.value.remedy
        MULTIPART.fill(target)
        assert np.array_equal(cpr.load(target.serialize()).get_data(), MULTIPART.data())
