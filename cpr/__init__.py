"""Prefect tasks that return real files: TIFF, CSV, NPY, Parquet and Zarr at any fsspec URL, verified.

A task fills a Target; cpr streams it to its place, hashes it on the way, and Prefect keeps a few
hundred bytes of JSON, which any worker turns back into the verified data.

Importing cpr imports neither prefect, pandas, zarr, dask nor fsspec: names are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr import errors
from cpr._lazy import make_lazy
from cpr._version import __version__ as __version__
from cpr.records.registry import BUILT_IN

if TYPE_CHECKING:
    from cpr.csv import CSVSource, CSVTarget
    from cpr.errors import *  # noqa: F403
    from cpr.image import ImageSource, ImageTarget
    from cpr.numpy import NumpySource, NumpyTarget
    from cpr.operations.load import load
    from cpr.operations.results_table import results
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
    from cpr.zarr import (
        OMEPlateSource,
        OMEPlateTarget,
        OMEZarrField,
        OMEZarrSource,
        OMEZarrTarget,
        ZarrPart,
        ZarrRegion,
        ZarrSource,
        ZarrTarget,
    )

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
    "load": "cpr.operations.load",
    "report_results": "cpr.prefect.artifacts",
    "results": "cpr.operations.results_table",
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
    "OMEPlateSource",
    "OMEPlateTarget",
    "OMEZarrField",
    "OMEZarrSource",
    "OMEZarrTarget",
    "ParquetSource",
    "ParquetTarget",
    "Resource",
    "Source",
    "Target",
    "TargetInputs",
    "ZarrPart",
    "ZarrRegion",
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
