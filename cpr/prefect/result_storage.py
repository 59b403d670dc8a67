"""Finds Prefect's result storage from its configuration."""

from __future__ import annotations

from typing import Any

from prefect.blocks.core import Block
from prefect.filesystems import LocalFileSystem, RemoteFileSystem
from prefect.settings import get_current_settings

from cpr.errors import ConfigurationError

__all__ = ["configured_results_url", "url_of_storage"]


def configured_results_url() -> str:
    """The default results URL of flows, which `cpr ls` and others use if given none.

    It is the block that PREFECT_DEFAULT_RESULT_STORAGE_BLOCK names, for which Prefect's server is asked, else
    the folder of PREFECT_LOCAL_STORAGE_PATH.

    Raises ConfigurationError for a block that cannot be had, or whose place has no URL.
    """
    settings = get_current_settings().results
    slug = settings.default_storage_block
    if slug is None:
        return str(settings.local_storage_path.expanduser().resolve())
    try:
        storage = Block.load(slug, _sync=True)  # type: ignore[call-arg]
    except Exception as error:
        raise _unusable(slug, f"{type(error).__name__} when it was loaded") from None
    url = url_of_storage(storage)
    if url is None:
        raise _unusable(slug, type(storage).__name__)
    return url


def url_of_storage(storage: Any) -> str | None:
    """The URL of one of Prefect's storage blocks; None if it has none."""
    if isinstance(storage, (LocalFileSystem, RemoteFileSystem)):
        return str(storage.basepath) if storage.basepath else None
    # Buckets of prefect-aws and prefect-gcp, which need not be installed here.
    protocol, bucket = {"S3Bucket": ("s3", "bucket_name"), "GcsBucket": ("gs", "bucket")}.get(
        type(storage).__name__, ("", "")
    )
    name = getattr(storage, bucket, None) if bucket else None
    folder = str(getattr(storage, "bucket_folder", "") or "").strip("/")
    return f"{protocol}://{name}/{folder}".rstrip("/") if name else None


def _unusable(slug: str, actual: str) -> ConfigurationError:
    return ConfigurationError(
        "the block of Prefect's result storage cannot be used",
        field="PREFECT_DEFAULT_RESULT_STORAGE_BLOCK",
        expected=f"a block {slug} whose place has a URL, and PREFECT_API_URL of the server that knows it",
        actual=actual,
        remedy="name the place: cpr ls s3://my-bucket/records",
    )
