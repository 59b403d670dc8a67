import pytest

from tests.faults.proxy import FaultProxy


@pytest.fixture(scope="package")
def running_proxy(s3_server):
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy, monkeypatch):
    """The proxy, healthy again before and after a test; the environment leads to the server through it."""
    running_proxy.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running_proxy.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", running_proxy.endpoint)
    yield running_proxy
    running_proxy.clear()
