"""A server's variables in os.environ, so that child processes and Dask workers find it too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def exported(variables: Mapping[str, str], hide: tuple[str, ...]) -> Iterator[None]:
    """Have these variables, and none that begins with what is to be hidden, until the block is left."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(hide):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def every_store_at(url: str) -> Iterator[None]:
    """S3, GCS and Azure at one HTTP server, with credentials that say nothing."""
    login = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint={url}/a"
    variables = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "STORAGE_EMULATOR_HOST": url,
        "AZURE_STORAGE_CONNECTION_STRING": login,
    }
    with exported(variables, ("AWS_", "AZURE_STORAGE_", "GOOGLE_APPLICATION_CREDENTIALS", "FSSPEC_")):
        yield
