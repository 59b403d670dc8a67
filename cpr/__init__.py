"""Prefect tasks that return real files: TIFF, CSV, NPY and Zarr at any fsspec URL, verified.

A task fills a Target; cpr streams it to its place, hashes it on the way, and Prefect keeps a few
hundred bytes of JSON, which any worker turns back into the verified data.

Importing cpr imports neither prefect, pandas, zarr nor dask: names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpr._lazy import make_lazy

if TYPE_CHECKING:
    from cpr.csv import CSVSource, CSVTarget
    from cpr.errors import (
        ConfigurationError,
        CorruptDataError,
        CprError,
        DecodeError,
        DuplicateTypeError,
        EncodeError,
        FormatError,
        MissingDependencyError,
        NoDataError,
        RecordError,
        ResourceError,
        ResourceNotFoundError,
        TransferError,
        UnsupportedExtensionError,
        UnsupportedStoreError,
    )
    from cpr.image import ImageSource, ImageTarget
    from cpr.numpy import NumpySource, NumpyTarget
    from cpr.parquet import ParquetSource, ParquetTarget
    from cpr.prefect.artifacts import report_results
    from cpr.prefect.cache_keys import hash_objects, task_input_hash
    from cpr.prefect.cache_policy import TargetInputs
    from cpr.prefect.locks import BucketLocks
    from cpr.prefect.serializer import CprSerializer, cpr_serializer, target_decoder, target_encoder
    from cpr.prefect.task import task
    from cpr.records.registry import register
    from cpr.Resource import Resource
    from cpr.Source import Source
    from cpr.Target import Target
    from cpr.zarr import OMEZarrSource, OMEZarrTarget, ZarrSource, ZarrTarget

__version__ = "0.1.0"

_NAMES = {
    name: module
    for module, names in {
        "cpr.Resource": ("Resource",),
        "cpr.Source": ("Source",),
        "cpr.Target": ("Target",),
        "cpr.records.registry": ("register",),
        "cpr.image": ("ImageSource", "ImageTarget"),
        "cpr.csv": ("CSVSource", "CSVTarget"),
        "cpr.numpy": ("NumpySource", "NumpyTarget"),
        "cpr.parquet": ("ParquetSource", "ParquetTarget"),
        "cpr.zarr": ("OMEZarrSource", "OMEZarrTarget", "ZarrSource", "ZarrTarget"),
        "cpr.prefect.serializer": ("CprSerializer", "cpr_serializer", "target_decoder", "target_encoder"),
        "cpr.prefect.locks": ("BucketLocks",),
        "cpr.prefect.cache_policy": ("TargetInputs",),
        "cpr.prefect.task": ("task",),
        "cpr.prefect.artifacts": ("report_results",),
        "cpr.prefect.cache_keys": ("hash_objects", "task_input_hash"),
        "cpr.errors": (
            "ConfigurationError",
            "CorruptDataError",
            "CprError",
            "DecodeError",
            "DuplicateTypeError",
            "EncodeError",
            "FormatError",
            "MissingDependencyError",
            "NoDataError",
            "RecordError",
            "ResourceError",
            "ResourceNotFoundError",
            "TransferError",
            "UnsupportedExtensionError",
            "UnsupportedStoreError",
        ),
    }.items()
    for name in names
}

__all__ = [
    "BucketLocks",
    "CSVSource",
    "CSVTarget",
    "ConfigurationError",
    "CorruptDataError",
    "CprError",
    "CprSerializer",
    "DecodeError",
    "DuplicateTypeError",
    "EncodeError",
    "FormatError",
    "ImageSource",
    "ImageTarget",
    "MissingDependencyError",
    "NoDataError",
    "NumpySource",
    "NumpyTarget",
    "OMEZarrSource",
    "OMEZarrTarget",
    "ParquetSource",
    "ParquetTarget",
    "RecordError",
    "Resource",
    "ResourceError",
    "ResourceNotFoundError",
    "Source",
    "Target",
    "TargetInputs",
    "TransferError",
    "UnsupportedExtensionError",
    "UnsupportedStoreError",
    "ZarrSource",
    "ZarrTarget",
    "cpr_serializer",
    "hash_objects",
    "load",
    "register",
    "report_results",
    "target_decoder",
    "target_encoder",
    "task",
    "task_input_hash",
]

make_lazy(__name__, _NAMES)

_MOST_RECORD_BYTES = 16 << 20


def load(record_or_url: Any) -> Resource:
    """A resource back from what was stored of it; Prefect is not needed.

    Args:
        record_or_url: a record as `serialize()` gave it, its JSON text, or the URL of a JSON object
            that holds one.

    Raises:
        RecordError: not an acceptable record.
        ResourceNotFoundError, TransferError: the URL cannot be read.
    """
    import os

    from cpr import io
    from cpr.errors import RecordError
    from cpr.records.registry import load_record
    from cpr.records.strict_json import parse

    record = record_or_url
    if isinstance(record, os.PathLike) or (isinstance(record, str) and not record.lstrip().startswith("{")):
        url = io.normalise(record)
        with io.reading(url) as file:
            record = file.read(_MOST_RECORD_BYTES + 1)
        if len(record) > _MOST_RECORD_BYTES:
            raise RecordError(
                "too large for a record",
                url=url,
                expected=f"at most {_MOST_RECORD_BYTES} bytes",
                actual="more",
                remedy="pass a record, its JSON text, or the URL of one",
            )
    return load_record(parse(record) if isinstance(record, (str, bytes)) else record)
