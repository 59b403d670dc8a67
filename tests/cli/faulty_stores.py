"""Stores with something wrong, for `cpr doctor`: MinIO behind proxies that lie, and buckets with policies."""

from __future__ import annotations

import json
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from tests.faults.proxy import FaultProxy, Message

READ = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
WRITE = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]


def open_to_everybody(client: Any, bucket: str, actions: list[str]) -> None:
    """Let requests without credentials do this in a bucket."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": actions,
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


class DropsConditions(FaultProxy):
    """A proxy that passes requests on without their conditions."""

    async def _forward(self, request: Message) -> tuple[Message, bytes]:
        request.headers = [
            (name, value)
            for name, value in request.headers
            if name.lower() not in ("if-none-match", "if-match")
        ]
        return await super()._forward(request)


class OtherTime(FaultProxy):
    """A proxy before a server whose clock is wrong by so much."""

    def __init__(self, endpoint: str, by: timedelta) -> None:
        super().__init__(endpoint)
        self._by = by

    async def _forward(self, request: Message) -> tuple[Message, bytes]:
        answer, head = await super()._forward(request)
        answer.headers = [(name, self._moved(name, value)) for name, value in answer.headers]
        if head:
            lines = [answer.first, *(f"{name}: {value}" for name, value in answer.headers)]
            head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return answer, head

    def _moved(self, name: str, value: str) -> str:
        if name.lower() not in ("date", "last-modified"):
            return value
        return format_datetime(parsedate_to_datetime(value) + self._by, usegmt=True)
