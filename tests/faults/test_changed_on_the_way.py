"""What is changed on its way into a store is refused by the store, sent again, and never published."""

from __future__ import annotations

import asyncio
import os
from functools import partial

import awscrt.checksums
import pytest

from cpr import io
from cpr.errors import TransferError
from cpr.io.block_digests import blocks_url
from cpr.io.clients import s3_retries
from cpr.io.stores import s3_obstore
from tests.faults.proxy import FaultProxy, Message
from tests.minio.server import S3Server

pytestmark = pytest.mark.real_s3

SMALL, LARGE = os.urandom(1000), os.urandom(20 << 20)


def write(url: str, data: bytes) -> io.Stored:
    with io.writing(url) as file:
        file.write(data)
    return file.stored


def require_intact(url: str, stored: io.Stored) -> None:
    assert io.read_through(url, "xxh3_128", stored.nbytes) == (stored.checksum, stored.nbytes)
    if stored.blocks is not None:
        with io.verified(url, stored.nbytes, stored.blocks) as parts:
            parts.check_digests()


def flip(proxy, kind: str, times: int) -> None:
    """Change a bit of the first so many requests of a kind."""
    seen = []

    def plan(_number: int, its_kind: str) -> str | None:
        seen.extend([its_kind] * (its_kind == kind))
        return "flip request" if its_kind == kind and len(seen) <= times else None

    proxy.plan(plan)


@pytest.fixture(params=["as it is", "bodies are signed", "s3fs alone"])
def way(request, monkeypatch) -> None:
    """Each way in which bytes are vouched for while they are sent."""
    monkeypatch.setattr(s3_retries, "_FIRST_WAIT_SECONDS", 0.01)
    if request.param == "bodies are signed":
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    if request.param != "as it is":
        monkeypatch.setattr(s3_obstore, "fast_bucket", lambda fs, bucket: None)


CASES = pytest.mark.parametrize(
    ("data", "kind"), [(SMALL, "put"), (LARGE, "part"), (LARGE, "put")], ids=["small", "part", "digests"]
)


@CASES
@pytest.mark.parametrize("times", [1, 2])
def test_what_was_changed_is_sent_again(proxy, s3_url, way, data, kind, times):
    url = f"{s3_url}/a.bin"
    flip(proxy, kind, times)
    stored = write(url, data)
    assert len(proxy.broken) == times
    require_intact(url, stored)


@pytest.mark.slow
@CASES
def test_what_is_changed_each_time_is_never_published(proxy, s3_url, open_uploads, way, data, kind):
    url = f"{s3_url}/a.bin"
    flip(proxy, kind, 1000)
    with pytest.raises(TransferError) as caught:
        write(url, data)
    assert caught.value.topic == "changed-on-the-way"
    assert proxy.broken
    proxy.clear()
    assert io.lookup(url) is None
    assert io.lookup(blocks_url(url)) is None
    assert open_uploads() == []


def test_the_store_compares_the_object_as_a_whole(proxy, s3_url, open_uploads, monkeypatch):
    """Each part may be right and the object another one: two parts in each other's place."""
    combine = awscrt.checksums.combine_crc64nvme
    monkeypatch.setattr(
        awscrt.checksums, "combine_crc64nvme", lambda crc, part, nbytes: combine(part, crc, nbytes)
    )
    with pytest.raises(TransferError) as caught:
        write(f"{s3_url}/a.bin", LARGE)
    assert caught.value.topic == "changed-on-the-way"
    assert io.lookup(f"{s3_url}/a.bin") is None
    assert open_uploads() == []


class OldStore(FaultProxy):
    """A server that does not know CRC64NVME: it refuses to be asked for it, or takes no notice."""

    def __init__(self, server: S3Server, refuses: bool) -> None:
        super().__init__(server.endpoint)
        self.client, self.refuses = server.client(), refuses

    async def _forward(self, request: Message) -> tuple[Message, bytes]:
        assert request.get("x-amz-checksum-crc64nvme") is None
        if request.get("x-amz-checksum-algorithm") != "CRC64NVME":
            return await super()._forward(request)
        xml = [("Content-Type", "application/xml")]
        if self.refuses:
            body = b"<?xml version='1.0'?><Error><Code>InvalidArgument</Code><Message>no</Message></Error>"
            return Message("HTTP/1.1 400 Bad Request", xml, body), b""
        bucket, _, key = request.first.split(" ")[1].partition("?")[0].lstrip("/").partition("/")
        begin = partial(self.client.create_multipart_upload, Bucket=bucket, Key=key)
        upload = (await asyncio.to_thread(begin))["UploadId"]
        body = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        return Message("HTTP/1.1 200 OK", xml, body.encode()), b""


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "ignores"])
def test_a_store_that_does_not_know_the_checksum(s3_server, s3_url, monkeypatch, refuses):
    url = f"{s3_url}/a.bin"
    with OldStore(s3_server, refuses) as proxy:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
            monkeypatch.setenv(name, proxy.endpoint)
        stored = write(url, LARGE)
        flip(proxy, "part", 1)  # parts have another checksum, which is compared too
        again = write(f"{url}.again", LARGE)
        assert len(proxy.broken) == 1
        assert proxy.kinds.count("create") == 1
        assert io.kept_store_checksum(url, stored.nbytes, stored.blocks) is None
        require_intact(url, stored)
        require_intact(f"{url}.again", again)
