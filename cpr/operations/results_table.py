"""`cpr.results`: all results under a URL as a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr import io
from cpr.errors import MissingDependencyError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["results"]


def results(url: str) -> pd.DataFrame:
    """The targets that the records under a URL name, as a DataFrame with a row each, latest last.

    Only records are read, and of these only those that no earlier call or command has read: see
    `docs/decisions/catalogue.md`. No data is read, and no store is asked whether the targets still exist.

    | column | dtype | |
    | --- | --- | --- |
    | `url` | str | of the target; `cpr.load(record, name=url)` gives it |
    | `name` | str | its file name |
    | `type` | category | its record type, `ImageTarget` for one |
    | `nbytes` | int64 | its size |
    | `data_hash` | str | 16 hex digits that name its content |
    | `made` | datetime64[us, UTC] | when it was made; where its record does not tell, when that was written |
    | `task` | category | name of the task that made it; missing where the record does not tell, as the next |
    | `flow` | category | name of the flow |
    | `flow_run` | category | id of the flow's run, 32 hex digits |
    | `task_run` | str | id of the task's run |
    | `record` | str | URL of the record that names it; of several the first that the store lists |

    Args:
        url: where records are.

    Raises:
        ResourceNotFoundError: the bucket does not exist.
        TransferError: the store refused or failed.
        MissingDependencyError: pyarrow is not installed.

    >>> import cpr, numpy as np
    >>> target = cpr.NumpyTarget.from_path("memory://plate/cell.npy")
    >>> target.set_data(np.zeros(3))
    >>> _ = target.persist()
    >>> import fsspec, json
    >>> fsspec.filesystem("memory").pipe("plate/records/1", json.dumps(target.serialize()).encode())
    >>> frame = cpr.results("memory://plate")
    >>> frame[frame.nbytes > 100]["type"].tolist()
    ['NumpyTarget']
    """
    try:
        from cpr.operations.catalogue.frame import frame_of
    except ImportError:
        raise MissingDependencyError(
            "a table of all results needs the pyarrow package",
            url=url,
            remedy='pip install "prefect-cpr[parquet]"',
        ) from None
    return frame_of(io.normalise(url))
