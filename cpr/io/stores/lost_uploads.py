"""Aborts multipart uploads that a retried request started on S3, and whose ids were lost with its answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime

from cpr.io.clients.s3fs import S3Client

__all__ = ["abort_unseen"]

log = logging.getLogger("cpr")

# Clocks in HTTP headers have seconds.
_CLOCK = timedelta(seconds=2)


async def abort_unseen(
    client: S3Client, where: Mapping[str, str], known: str | None, creating: tuple[float, float]
) -> None:
    """Abort the other uploads of an object, except the one that is known.

    Args:
        client: whose loop this runs on.
        where: the object, as Bucket and Key.
        known: id of the upload that is ours, if there is one.
        creating: when they may have been begun, by time.monotonic().
    """
    try:
        await _find_and_abort(client, where, known, creating)
    except Exception as error:
        log.warning(
            "s3://%s/%s: an upload whose id was lost may be left open (%s); a lifecycle rule of the "
            "bucket removes such",
            *where.values(),
            type(error).__name__,
        )


async def _find_and_abort(
    client: S3Client, where: Mapping[str, str], known: str | None, creating: tuple[float, float]
) -> None:
    call = client.request
    answer = await call("list_multipart_uploads", Bucket=where["Bucket"], Prefix=where["Key"])
    # Others may write the same content to this key: only an upload that was begun while we asked for
    # ours, by the server's clock, and has no part although all of ours are done, can be ours.
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    started, ended = (now - timedelta(seconds=time.monotonic() - moment) for moment in creating)
    for upload in answer.get("Uploads", []):
        if upload["Key"] != where["Key"] or upload["UploadId"] == known:
            continue
        if not started - _CLOCK <= upload["Initiated"] <= ended + _CLOCK:
            continue
        parts = await call("list_parts", **where, UploadId=upload["UploadId"])
        if not parts.get("Parts"):
            with suppress(FileNotFoundError):
                await call("abort_multipart_upload", **where, UploadId=upload["UploadId"])
