"""What the ladder and the fixtures do to buckets, through botocore alone: synchronous, nothing cached."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

Failure = (BotoCoreError, ClientError)


def make_client(
    endpoint: str, access_key: str, secret_key: str, region: str, token: str | None = None
) -> Any:
    """An S3 client that gives up soon and repeats nothing: whoever polls decides when to try again."""
    local = is_local(endpoint)
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"} if local else None,
            proxies={} if local else None,
        ),
    )


def is_local(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname in {"127.0.0.1", "localhost", "::1"}


def create(client: Any, bucket: str) -> None:
    region = client.meta.region_name
    if region == "us-east-1":  # the one region that S3 does not take as a constraint
        client.create_bucket(Bucket=bucket)
    else:
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})


def empty(client: Any, bucket: str, prefix: str = "") -> None:
    """Delete every object under `prefix`."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for item in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=item["Key"])


def open_uploads(client: Any, bucket: str, prefix: str = "") -> list[tuple[str, str]]:
    """(key, upload id) of each multipart upload begun under `prefix` and neither completed nor aborted.

    The prefix is applied here: MinIO lists every upload when asked for no prefix, but for a prefix only
    those whose key *equals* it, and would say "none" when there are some.
    """
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    uploads = [(item["Key"], item["UploadId"]) for page in pages for item in page.get("Uploads", [])]
    return [(key, upload) for key, upload in uploads if key.startswith(prefix)]


def remove(client: Any, bucket: str) -> None:
    """Delete the bucket with all that is in it."""
    for key, upload in open_uploads(client, bucket):
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    empty(client, bucket)
    client.delete_bucket(Bucket=bucket)
