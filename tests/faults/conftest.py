import pytest

from cpr.io.transfer_width import TransferWidth
from tests.faults.proxy import FaultProxy


@pytest.fixture(scope="package")
def running_proxy(s3_server):
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy, monkeypatch):
    """The proxy, healthy again before and after a test; the environment leads to the server through it."""
    running_proxy.clear()
    # The same requests each time, however busy the machine is: a sweep breaks one after another of them.
    monkeypatch.setattr(TransferWidth, "is_far", False)
    monkeypatch.setattr(TransferWidth, "is_unknown", False)
    monkeypatch.setattr(TransferWidth, "block_bytes", 8 << 20)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running_proxy.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", running_proxy.endpoint)
    yield running_proxy
    running_proxy.clear()
