"""Records as flows leave them, any number of them, without flows or data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

__all__ = ["records"]

_TASKS = ("denoise", "segment", "measure", "register")


def records(count: int, data: str, targets: int = 1, runs: int = 100) -> Iterator[tuple[str, bytes]]:
    """Names and contents of records of Prefect, each of a result of some targets, made from those before.

    Args:
        count: of the records.
        data: folder of the targets, which are not there.
        targets: of each record.
        runs: how many runs of a flow have made them.
    """
    for number in range(count):
        name = _hex(f"record {number}", 32)
        values = [{"__cpr__": _target(number, part, count, data, runs, name)} for part in range(targets)]
        result = values[0] if targets == 1 else {"__cpr__": ["value", values]}
        metadata = {
            "storage_key": name,
            "expiration": None,
            "serializer": {"type": "cpr"},
            "prefect_version": "3.8.8",
            "storage_block_id": None,
        }
        yield name, json.dumps({"metadata": metadata, "result": json.dumps(result)}).encode()


def _target(number: int, part: int, count: int, data: str, runs: int, record: str) -> dict[str, object]:
    task, run = _TASKS[number % 4], number * runs // count
    before = f"{data}/cell-{number - 1:07d}-0-{_hex(f'key {number - 1} 0', 16)}.tif"
    source = "ImageSource - s3://raw/plate/a.tif" if number % 4 == 0 else f"ImageTarget - {before}"
    return {
        "type": "ImageTarget",
        "location": data,
        "name": f"cell-{number:07d}-{part}",
        "ext": ".tif",
        "key": _hex(f"key {number} {part}", 16),
        "data_hash": _hex(f"hash {number} {part}", 16),
        "checksum": f"xxh3_128:{_hex(f'sum {number} {part}', 32)}",
        "nbytes": 1_000_000 + number,
        "shape": [512, 512],
        "dtype": "uint16",
        "made": {
            "task": task,
            "flow": "analyse",
            "flow_run": _hex(f"run {run}", 32),
            "task_run": _hex(f"task {number}", 32),
            "at": 1_790_000_000 + number,
            "cpr": "0.1.0",
            "key": record,
            "source": _hex(task, 16),
            "inputs": {"sigma": number % 7, "method": "str=otsu", "image": source},
        },
    }


def _hex(text: str, digits: int) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:digits]
