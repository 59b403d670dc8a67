"""Results as a flow leaves them, without one: targets, and the records that Prefect would keep of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

import cpr
from cpr import io
from cpr.provenance.provenance_record import Input, Made

STORED_TARGETS = {
    "small": ("NumpyTarget", ".npy", lambda: np.arange(100), {}),
    "large": ("NumpyTarget", ".npy", lambda: np.random.default_rng(0).random(200_000), {}),
    "image": ("ImageTarget", ".tif", lambda: np.random.default_rng(1).integers(0, 99, (40, 50), "uint8"), {}),
    "table": ("CSVTarget", ".csv", lambda: pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}), {}),
    "chunks": ("ZarrTarget", ".zarr", lambda: np.arange(64).reshape(8, 8), {"chunks": (4, 4)}),
}


@dataclass
class Results:
    """What `store` has made.

    Attributes:
        url: of all.
        targets: by kind.
        records: URLs of the cache entries, by kind.
        flow: URL of the flow's result, which names all targets.
    """

    url: str
    targets: dict[str, Any] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    flow: str = ""


def put(url: str, content: bytes | str) -> str:
    """An object, written as others would."""
    with io.writing(url) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return url


def get(url: str) -> bytes:
    with io.reading(url) as file:
        return file.read()


def prefect_record(result: Any, serializer: str = "cpr", **metadata: Any) -> str:
    """What Prefect keeps of a task's result; `result` is a text, or JSON values for cpr's serializer."""
    if not isinstance(result, str):
        if not (isinstance(result, dict) and "__cpr__" in result):
            result = {"__cpr__": ["value", result]}
        result = json.dumps(result)
    known = {"storage_key": "key", "serializer": {"type": serializer}, "prefect_version": "3.8.8", **metadata}
    return json.dumps({"metadata": known, "result": result})


def store(url: str, kinds: tuple[str, ...] = tuple(STORED_TARGETS)) -> Results:
    """A target of each kind in `url/data`, a record of each in `url/records`, and a flow's of all."""
    done = Results(url)
    values = []
    for number, kind in enumerate(kinds):
        name, ext, data, options = STORED_TARGETS[kind]
        target = getattr(cpr, name).from_path(f"{url}/data/{kind}{ext}", **options)
        target.set_data(data())
        target.set_made(
            Made(
                task=f"make_{kind}",
                flow="analyse",
                flow_run="ab" * 16,
                task_run=f"{number:032x}",
                at=1_790_000_000 + number,
                inputs={"size": Input("int", number)},
            )
        )
        done.targets[kind] = target
        values.append(target.serialize())
        place = f"{url}/records/{number:032x}"
        done.records[kind] = put(place, prefect_record({"result": values[-1]}, storage_key=place))
    done.flow = put(f"{url}/records/{99:032x}", json.dumps({"__cpr__": ["value", values]}))
    return done
