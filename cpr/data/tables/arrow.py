"""Columns in Arrow memory (`dtype_backend="pyarrow"`): their types and values.

A record calls them `arrow[...]`, for pandas calls two dtypes `string[pyarrow]`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from cpr.errors import MissingDependencyError

__all__ = ["arrow_array", "arrow_name", "own_name", "pandas_dtype", "plain_values"]

_NAME = re.compile(r"arrow\[(?P<type>[^\[\]]+(\[[^\[\]]+\])?)\]")
_TIMES = re.compile(r"(?P<kind>timestamp|duration)\[(?P<unit>s|ms|us|ns)(, tz=(?P<zone>[A-Za-z][^\]]*))?\]")
# What pandas' own dtype of the same values is called.
_OWN = {
    "bool": "boolean",
    **{name: name.capitalize() for name in ("int8", "int16", "int32", "int64")},
    **{name: f"UI{name[2:]}" for name in ("uint8", "uint16", "uint32", "uint64")},
    "float": "Float32",
    "double": "Float64",
    "string": "string",
    "large_string": "string",
}


def arrow_name(dtype: pd.ArrowDtype) -> str:
    """The name of an Arrow dtype in records."""
    return f"arrow[{dtype.pyarrow_dtype}]"


def own_name(name: str) -> str | None:
    """The name of pandas' own dtype for the same values; None if tables here cannot have it."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    times = _TIMES.fullmatch(found["type"])
    if times is None:
        return _OWN.get(found["type"])
    if times["kind"] == "duration":
        return None if times["zone"] else f"timedelta64[{times['unit']}]"
    return f"datetime64[{times['unit']}{f', {zone}' if (zone := times['zone']) else ''}]"


def pandas_dtype(name: str) -> pd.ArrowDtype:
    """The dtype with this name. Raises MissingDependencyError without pyarrow."""
    return pd.ArrowDtype(_type(name))


def _type(name: str) -> Any:
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingDependencyError(
            "columns in Arrow's memory need the pyarrow package", remedy='pip install "prefect-cpr[parquet]"'
        ) from None
    found = _NAME.fullmatch(name)
    assert found is not None
    times = _TIMES.fullmatch(found["type"])
    if times is None:
        return pa.type_for_alias(found["type"])
    if times["kind"] == "duration":
        return pa.duration(times["unit"])
    return pa.timestamp(times["unit"], times["zone"])


def arrow_array(data: np.ndarray[Any, Any], missing: np.ndarray[Any, Any] | None, name: str) -> Any:
    """Convert plain values (see `Values`) to a pandas array of such a dtype."""
    import pyarrow as pa

    type_ = _type(name)
    if pa.types.is_temporal(type_):
        array = pa.array(data, pa.int64(), mask=missing, from_pandas=False).view(type_)
    else:
        array = pa.array(data, type_, mask=missing, from_pandas=False)
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([array]))


def plain_values(array: Any, dtype: np.dtype[Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Convert such a pandas array to values, with placeholders where missing, and a mask of these."""
    import pyarrow as pa

    found = pa.chunked_array(array.__arrow_array__())
    missing = found.is_null().to_numpy()
    if pa.types.is_temporal(found.type):
        found = found.cast(pa.int64())
    filler = "" if dtype.kind == "O" else dtype.type(0).item()
    return np.array(found.fill_null(filler).to_numpy(), dtype), missing
