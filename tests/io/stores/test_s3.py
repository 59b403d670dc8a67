"""What is S3's own: listings of several pages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cpr import io


@pytest.mark.slow
def test_a_listing_of_several_pages(s3_url, s3_server):
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    client = s3_server.client()
    keys = [f"{prefix}/{folder}/{number:04}.txt" for folder in "ab" for number in range(1001)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    assert list(io.find(f"{s3_url}/a/*.txt")) == [f"s3://{bucket}/{key}" for key in keys[:1001]]
    assert list(io.find(f"{s3_url}/*/*0.txt")) == [f"s3://{bucket}/{key}" for key in keys if key[-5] == "0"]
