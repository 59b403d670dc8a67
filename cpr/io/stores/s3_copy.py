"""Server-side copies in S3, of objects that hold known bytes."""

from __future__ import annotations

from cpr.io.clients.s3fs import S3Client, required
from cpr.io.stores.base import bucket_and_key
from cpr.io.stores.s3_upload import is_refused_condition, stat_object
from cpr.io.timeouts import wait_for

__all__ = ["copy_equal"]

# What is as large may have been sent in parts, and has no MD5 for an ETag then; its copy has one.
_IN_PARTS_BYTES = 5 << 20
_MOST_BYTES = 5 << 30  # that one request copies


def copy_equal(client: S3Client, source: str, path: str, md5: str, nbytes: int) -> bool:
    """As `CopyingStore.copy_equal`.

    The ETag of an object that one request has made is the MD5 of its bytes, unless the bucket encrypts with
    keys of a management service or of the client (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html):
    then nothing is ever equal here.
    """
    if nbytes > _MOST_BYTES:
        return False
    etag: object = md5
    if nbytes >= _IN_PARTS_BYTES:
        found = stat_object(client, *bucket_and_key(source))
        if found is None or found.nbytes != nbytes:
            return False
        etag = found.version.get("etag")
    (bucket, key), (old_bucket, old_key) = bucket_and_key(path), bucket_and_key(source)
    request = client.request(
        "copy_object",
        Bucket=bucket,
        Key=key,
        CopySource={"Bucket": old_bucket, "Key": old_key},
        CopySourceIfMatch=f'"{etag}"',
    )
    try:
        answer = wait_for(client.submit(request), nbytes)
    except FileNotFoundError:
        return False
    except OSError as error:
        if is_refused_condition(error):
            return False
        raise
    # A server that ignores the condition may have copied something else.
    return str(required(answer, "CopyObjectResult").get("ETag")).strip('"') == md5
