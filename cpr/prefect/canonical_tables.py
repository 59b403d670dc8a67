"""Describes pandas tables as JSON values for cache keys: names, dtypes, index, attributes and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cpr.prefect.canonical_arrays import exact
from cpr.prefect.data_versions import is_of

__all__ = ["describe_table", "is_table"]

Describe = Callable[[Any, str], Any]


def is_table(value: Any) -> bool:
    """Whether it is a frame, a series or an index of pandas, or an array of its own with missing values."""
    return is_of(value, "pandas", "DataFrame", "Series", "Index") or _is_nullable(value)


def _is_nullable(value: Any) -> bool:
    # What lies where a value is missing depends on how the array was made, and nobody is shown it.
    return is_of(value, "pandas.arrays", "IntegerArray", "FloatingArray", "BooleanArray")


def describe_table(value: Any, path: str, describe: Describe) -> list[Any]:
    """The description of a frame, a series, an index or an array with missing values.

    Args:
        value: the table.
        path: how errors call it.
        describe: describes names, attributes and values that are no numbers.
    """
    import pandas as pd

    if _is_nullable(value):
        return ["nullable", str(value.dtype), _items(value, path, describe)]
    if isinstance(value, pd.RangeIndex):
        return ["range", describe(value.name, path), value.start, value.stop, value.step]
    if isinstance(value, pd.MultiIndex):
        # A level that is called 0 would be found before the one that is the first.
        nameless = value.set_names([None] * value.nlevels)
        levels = [describe_table(nameless.get_level_values(i), path, describe) for i in range(value.nlevels)]
        # `unstack`, for one, gives columns in the order in which levels are kept.
        order = [describe_table(one, path, describe) for one in nameless.remove_unused_levels().levels]
        return ["levels", levels, order, describe(list(value.names), path)]
    if isinstance(value, pd.Index):
        freq = getattr(value, "freqstr", None)
        described = ["index", describe(value.name, path), _named(value.dtype), _column(value, path, describe)]
        return described if freq is None else [*described, freq]
    index = describe_table(value.index, f"{path}.index", describe)
    if isinstance(value, pd.Series):
        column = _column(value, path, describe)
        described = ["series", describe(value.name, path), _named(value.dtype), column, index]
    else:
        columns = [
            [
                describe(label, path),
                _named(value.dtypes.iloc[i]),
                _column(value.iloc[:, i], f"{path}[{label!r}]", describe),
            ]
            for i, label in enumerate(value.columns)
        ]
        labels = describe_table(value.columns, f"{path}.columns", describe)
        described = ["frame", labels, columns, index]
    # Of frames of other packages, geopandas for one, what they keep beside the columns.
    kept = {name: getattr(value, name, None) for name in type(value)._metadata if name[0] != "_"}  # noqa: SLF001
    if not value.flags.allows_duplicate_labels:
        described.append("without duplicate labels")
    if value.attrs or kept:
        described.append([describe(dict(value.attrs), f"{path}.attrs"), describe(kept, path)])
    return described


def _named(dtype: Any) -> str:
    """A dtype as text: in which order the bytes of numbers lie makes no difference, as with arrays.

    Of texts it also says who keeps them, which decides what dtypes their methods give.
    """
    if isinstance(dtype, np.dtype) and not dtype.isnative:
        dtype = dtype.newbyteorder("=")
    storage = getattr(dtype, "storage", "python") if is_of(dtype, "pandas", "StringDtype") else "python"
    return str(dtype) if storage == "python" else f"{dtype} in {storage}"


def _column(values: Any, path: str, describe: Describe) -> Any:
    data = values.array
    if isinstance(values.dtype, np.dtype) and not values.dtype.hasobject:
        return exact(np.asarray(data))
    if is_of(values.dtype, "pandas", "CategoricalDtype"):
        categories = describe_table(data.categories, path, describe)
        return ["category", bool(data.ordered), categories, exact(np.asarray(data.codes))]
    return _items(data, path, describe)


def _items(data: Any, path: str, describe: Describe) -> list[Any]:
    return [describe(item, f"{path}[{index}]") for index, item in enumerate(data)]
