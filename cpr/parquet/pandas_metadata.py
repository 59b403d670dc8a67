"""The pandas metadata in a Parquet file, so that `pandas.read_parquet` restores a frame's labels.

Source: https://pandas.pydata.org/docs/development/developer.html#storing-pandas-dataframe-objects-in-apache-parquet-format
"""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd

from cpr.data.tables import ColumnType, Layout
from cpr.io.outside_json import read_json

__all__ = ["file_names", "pandas_metadata", "require_modest_labels"]

_MOST_LEVELS = 256
# Of labels pyarrow makes an array of the type that is said here, of whatever width: `S1000000000`.
_LABEL_TYPE = re.compile(r"[A-Za-z][A-Za-z_-]+\d{0,3}")
_TEXT = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
_KINDS = {"text": "unicode", "duration": "timedelta", "category": "categorical"}


def file_names(layout: Layout) -> list[str]:
    """The names of the columns in the file, index first; unnamed levels as pandas names them."""
    names = layout.stored_names
    for level, name in enumerate(layout.index.names if layout.writes_index else ()):
        if name is None:
            names[level] = f"__index_level_{level}__"
    return names


def require_modest_labels(schema: Any) -> None:
    """Raise ValueError for column labels that would take pandas minutes to process.

    Where columns have labels in several levels pyarrow takes the name of each for a literal of Python, and
    pandas makes a level of each of its elements, at half a millisecond: of a text, of each character.
    """
    text = (schema.metadata or {}).get(b"pandas")
    found = None if text is None else read_json(text, strict=False)
    if not isinstance(found, dict):
        return
    heads = found.get("column_indexes")
    if not isinstance(heads, list):
        return
    for head in heads:
        for key in ("pandas_type", "numpy_type"):
            said = head.get(key) if isinstance(head, dict) else None
            if isinstance(said, str) and not _LABEL_TYPE.fullmatch(said.partition("[")[0]):
                raise ValueError(f"labels of type {said[:40]!r}")
    if len(heads) < 2:
        return
    listed, index = (found.get(key) for key in ("columns", "index_columns"))
    columns = [column for column in listed or () if isinstance(column, dict)]
    names = [(name, name) for name in schema.names]
    names += [(column.get("field_name"), column.get("name")) for column in columns]
    for field, name in names:
        if isinstance(index, list) and field in index:
            continue  # of which pyarrow takes the name as it is
        is_long = isinstance(name, str) and len(name) > _MOST_LEVELS
        if is_long and not (name.startswith("(") and name.count(",") <= _MOST_LEVELS):
            raise ValueError(f"a label of {len(heads)} levels that is no tuple of so many: {name[:40]!r}")


def pandas_metadata(layout: Layout) -> dict[bytes, bytes]:
    """The schema's metadata entry for pandas; none if columns share a name, which pandas does not support."""
    fields = file_names(layout)
    if len(set(fields)) < len(fields):
        return {}
    # Without one of its own, pandas numbers the rows, as it did.
    levels = len(layout.index.types) if layout.writes_index else 0
    names = [*layout.index.names[:levels], *map(_label, layout.labels)]
    columns = [
        {"name": name, "field_name": field, **_type(column)}
        for name, field, column in zip(names, fields, layout.stored_types, strict=True)
    ]
    heads = [
        # Labels of other types stay the texts that they are in the file.
        {"name": name, "field_name": name, **(_type(column) if column.kind == "number" else _TEXT)}
        for name, column in zip(layout.heads.names, layout.heads.types, strict=True)
    ]
    found = {
        "index_columns": fields[:levels],
        "column_indexes": heads,
        "columns": columns,
        "attributes": {},
        "creator": {"library": "cpr"},
        "pandas_version": pd.__version__,
    }
    return {b"pandas": json.dumps(found).encode()}


def _label(label: Any) -> str | None:
    if isinstance(label, list):
        return str(tuple(map(_label, label)))
    return None if label is None else str(label)


def _type(column: ColumnType) -> dict[str, Any]:
    """The pandas name of a type, and details that the file's type lacks."""
    if column.of is not None and column.of.kind != "text":
        return _type(column.of)  # stored as the values themselves
    more: dict[str, Any] | None = None
    kind, name = _KINDS.get(column.kind, column.numpy.name), column.name
    if column.kind == "datetime":
        kind, name = "datetime" if column.zone is None else "datetimetz", f"datetime64[{column.unit}]"
        more = None if column.zone is None else {"timezone": column.zone.removeprefix("UTC") or column.zone}
    elif column.kind == "category":
        assert column.categories is not None
        name, more = "int32", {"num_categories": len(column.categories), "ordered": column.ordered}
    elif column.kind == "text":
        name = name.partition("[")[0]
    if column.own is not None:
        name = str(column.dtype)
    return {"pandas_type": kind, "numpy_type": name, "metadata": more}
