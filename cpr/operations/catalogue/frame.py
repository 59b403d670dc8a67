"""The catalogue as a DataFrame; `cpr.results` documents its columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cpr import io
from cpr.operations.catalogue.arrow_arrays import numbers
from cpr.operations.catalogue.catalogue import read_catalogue
from cpr.operations.catalogue.ls_columns import Targets

__all__ = ["frame_of"]

_COLUMNS = ("type", "location", "file", "size", "data_hash", "at", "task", "flow", "flow_run", "task_run")


def frame_of(url: str) -> pd.DataFrame:
    """See `cpr.operations.results_table.results`."""
    catalogue = read_catalogue(url, _COLUMNS)
    targets = Targets(catalogue)
    order = np.argsort(targets.when, kind="stable")
    rows = catalogue.rows.take(numbers(targets.rows[order])).unify_dictionaries()
    files = rows["file"].to_pylist()
    columns = {name: rows[name].to_pandas() for name in _COLUMNS}
    return pd.DataFrame(
        {
            "url": pd.Series(map(io.join, rows["location"].to_pylist(), files), dtype="str"),
            "name": pd.Series(files, dtype="str"),
            "type": columns["type"],
            "nbytes": columns["size"].astype("int64"),
            "data_hash": columns["data_hash"],
            "made": pd.Series(targets.when[order].astype("datetime64[us]")).dt.tz_localize("UTC"),
            **{name: columns[name] for name in ("task", "flow", "flow_run", "task_run")},
            "record": pd.Series(map(catalogue.listing.url_of, targets.index[order]), dtype="str"),
        }
    )
