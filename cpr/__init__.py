"""Prefect tasks that return real files: TIFF, CSV, NPY and Zarr at any fsspec URL, verified.

A task fills a Target; cpr streams it to its place, hashes it on the way, and Prefect keeps a few
hundred bytes of JSON, which any worker turns back into the verified data.

Importing cpr imports neither prefect, pandas, zarr nor dask: names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpr import errors
from cpr._lazy import make_lazy
from cpr._version import __version__ as __version__
from cpr.records.registry import BUILT_IN

if TYPE_CHECKING:
    from cpr.csv import CSVSource, CSVTarget
    from cpr.errors import *  # noqa: F403
    from cpr.image import ImageSource, ImageTarget
    from cpr.numpy import NumpySource, NumpyTarget
    from cpr.operations.results import results
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
    from cpr.zarr import OMEZarrSource, OMEZarrTarget, ZarrPart, ZarrSource, ZarrTarget

_NAMES = {
    **dict.fromkeys(errors.__all__, "cpr.errors"),
    **BUILT_IN,
    "Resource": "cpr.Resource",
    "Source": "cpr.Source",
    "Target": "cpr.Target",
    "register": "cpr.records.registry",
    "BucketLocks": "cpr.prefect.locks",
    "CprSerializer": "cpr.prefect.serializer",
    "TargetInputs": "cpr.prefect.cache_policy",
    "cpr_serializer": "cpr.prefect.serializer",
    "hash_objects": "cpr.prefect.cache_keys",
    "report_results": "cpr.prefect.artifacts",
    "results": "cpr.operations.results",
    "target_decoder": "cpr.prefect.serializer",
    "target_encoder": "cpr.prefect.serializer",
    "task": "cpr.prefect.task",
    "task_input_hash": "cpr.prefect.cache_keys",
}

__all__ = [
    "BucketLocks",
    "CSVSource",
    "CSVTarget",
    "CprSerializer",
    "ImageSource",
    "ImageTarget",
    "NumpySource",
    "NumpyTarget",
    "OMEZarrSource",
    "OMEZarrTarget",
    "ParquetSource",
    "ParquetTarget",
    "Resource",
    "Source",
    "Target",
    "TargetInputs",
    "ZarrPart",
    "ZarrSource",
    "ZarrTarget",
    "cpr_serializer",
    "hash_objects",
    "load",
    "register",
    "report_results",
    "results",
    "target_decoder",
    "target_encoder",
    "task",
    "task_input_hash",
]
__all__ += errors.__all__

make_lazy(__name__, _NAMES)

_MAX_RECORD_BYTES = 16 << 20


def load(record_or_url: Any) -> Resource:
    """Load a resource from its stored record, without Prefect.

    Args:
        record_or_url: a record as `serialize()` gave it, its JSON text, or the URL of a JSON object
            that holds one.

    Raises:
        RecordError: not an acceptable record.
        UsageError: the URL of an image or a table.
        ResourceNotFoundError, TransferError: the URL cannot be read.

    >>> target = cpr.NumpyTarget.from_path("memory://docs/numbers.npy")
    >>> target.set_data(np.arange(3))
    >>> load(target.serialize()).get_data()
    array([0, 1, 2])
    """
    import os

    from cpr import io
    from cpr.records.registry import load_record, source_of
    from cpr.records.strict_json import parse
    from cpr.Resource import Resource

    record = record_or_url
    if isinstance(record, os.PathLike) or (isinstance(record, str) and not record.lstrip().startswith("{")):
        url = io.normalise(record)
        if (source := source_of(url)) is not None:
            raise errors.UsageError(
                "a file of data, not a record",
                url=url,
                expected="a record as serialize() gives it, its JSON text, or the URL of one",
                remedy=f"cpr.{source}.from_path({str(record_or_url)!r}) reads the file",
            )
        with io.reading(url) as file:
            record = file.read(_MAX_RECORD_BYTES + 1)
        if len(record) > _MAX_RECORD_BYTES:
            raise errors.RecordError(
                "too large for a record",
                url=url,
                expected=f"at most {_MAX_RECORD_BYTES} bytes",
                actual="more",
                remedy="pass a record, its JSON text, or the URL of one",
            )
    resource = load_record(parse(record) if isinstance(record, (str, bytes)) else record)
    assert isinstance(resource, Resource)
    return resource
