"""Folders of records of all sorts, made at random, and what may happen to the catalogue of one."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.synthetic import records
from tests.stored_flow import prefect_record, put

BAD_FIELDS: list[dict[str, Any]] = [
    {"name": "../etc"},
    {"key": "x"},
    {"nbytes": -1},
    {"location": "file:///etc"},
    {"made": {"task": 1}},
    {"type": "os.system"},
]
ODD_FIELDS: list[dict[str, Any]] = [
    {"name": "zelle ü %41 [1]"},
    {"name": ".hidden"},
    {"location": "s3://bucket/other//"},
    {"made": {"task": "\u00b5m", "inputs": {}}},
    {"made": {}},
    {"ext": ""},
]


def target(dice: random.Random, **fields: Any) -> dict[str, Any]:
    """The record of one target; few of them, so that several records name the same."""
    ((_, content),) = list(records(1, "s3://bucket/data"))
    record: dict[str, Any] = json.loads(json.loads(content)["result"])["__cpr__"]
    number = dice.randrange(12)
    record |= {"name": f"cell-{number}", "key": f"{number:016x}", "nbytes": number}
    made = dict(record["made"], at=1_790_000_000 + dice.randrange(5), flow_run=f"{number % 3:032x}")
    if dice.random() < 0.3:
        made["inputs"] = {"sigma": dice.randrange(3)}
    record["made"] = made
    if dice.random() < 0.2:
        del record["made"]
    if dice.random() < 0.1:
        record = {name: record[name] for name in ("location", "name", "ext")} | {"type": "ImageSource"}
    return {"__cpr__": {**record, **fields}}


def content(dice: random.Random) -> str | bytes:
    """What one object holds: mostly records."""
    choice = dice.random()
    if choice < 0.55:
        return prefect_record(target(dice))
    if choice < 0.7:
        return prefect_record([target(dice) for _ in range(dice.randrange(1, 4))])
    if choice < 0.75:
        return json.dumps({"__cpr__": ["value", [target(dice)]]})
    if choice < 0.8:
        return prefect_record("gASVBAAAAAAAAABLAS4=", "pickle")
    if choice < 0.85:
        return prefect_record([target(dice), target(dice, **dice.choice(BAD_FIELDS))])
    if choice < 0.9:
        return prefect_record(target(dice, **dice.choice(ODD_FIELDS)))
    if choice < 0.95:
        return prefect_record(target(dice))[: dice.randrange(1, 300)]
    return dice.choice(["", "# A text", '{"metadata": {}}', prefect_record([1, 2]), bytes(9)])


def name(dice: random.Random) -> str:
    """Of an object."""
    folder = dice.choice(["", "", "", "records/", "a/b/"])
    choice = dice.random()
    if choice < 0.8:
        return f"{folder}{dice.randrange(1 << 128):032x}"
    if choice < 0.9:
        return f"{folder}cell-{dice.randrange(20)}-{dice.randrange(20):016x}.tif"
    return folder + dice.choice(["README.md", "notes.json", "odd name", "ü", "x..y", "stack.zarr/c/0"])


def fill(folder: Path, dice: random.Random, count: int) -> None:
    """Write objects."""
    for _ in range(count):
        put(f"{folder}/{name(dice)}", content(dice))


def change(folder: Path, dice: random.Random) -> None:
    """Delete some objects, replace some, add some; of some only the time or only the content changes."""
    there = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".cpr" not in path.parts]
    for path in dice.sample(there, min(len(there), 12)):
        match dice.randrange(4):
            case 0:
                path.unlink()
            case 1:
                path.write_bytes(path.read_bytes()[::-1])
            case 2:
                os.utime(path, (1, 1 + dice.randrange(99)))
            case 3:
                written, time = path.read_bytes(), path.stat().st_mtime_ns
                path.write_bytes(written.replace(b"cell", b"call"))
                os.utime(path, ns=(time, time))
    fill(folder, dice, dice.randrange(5))


def files(folder: Path) -> list[Path]:
    """Of the catalogue."""
    return sorted((folder / ".cpr" / "catalogue").rglob("*.parquet"))


def _renamed(path: Path, blob: bytes) -> None:
    """A file as its author would name it."""
    from cpr.io.hashing import digest_of

    path.unlink()
    head = path.name.partition(".")[0]
    path.with_name(f"{head}.{digest_of(blob, 'xxh3_128').hex()}.parquet").write_bytes(blob)


def _flip(folder: Path, dice: random.Random) -> None:
    for path in files(folder):
        blob = bytearray(path.read_bytes())
        for _ in range(dice.randrange(1, 4)):
            blob[dice.randrange(len(blob))] ^= 1 << dice.randrange(8)
        path.write_bytes(blob)


def _flip_and_rename(folder: Path, dice: random.Random) -> None:
    """Damage in the footer, whose author wants it to be believed: the digest is right."""
    for path in files(folder):
        blob = bytearray(path.read_bytes())
        for _ in range(3):
            blob[-1 - dice.randrange(min(len(blob), 600))] ^= 1 << dice.randrange(8)
        _renamed(path, bytes(blob))


def _cut(folder: Path, dice: random.Random) -> None:
    for path in files(folder):
        blob = path.read_bytes()
        _renamed(path, blob[: dice.randrange(len(blob))])


def _older(folder: Path, dice: random.Random) -> None:
    """Another schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files(folder):
        table = pq.read_table(path)
        drop = dice.choice(table.schema.names)
        sink = pa.BufferOutputStream()
        pq.write_table(table.drop_columns([drop]), sink)
        _renamed(path, sink.getvalue().to_pybytes())


def _forged(folder: Path, dice: random.Random) -> None:
    """Rows that no record could have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files(folder):
        table = pq.read_table(path)
        column, value = dice.choice(
            [
                ("location", "file:///etc"),
                ("file", "../../etc/passwd"),
                ("size", -5),
                ("at", 1 << 61),
                ("task", "\x1b[31mred"),
                ("flow_run", "x" * 32),
                ("type", "os.system"),
                ("kind", 77),
                ("version", None),
                ("name", None),
            ]
        )
        forged = pa.array([value] * table.num_rows, table.schema.field(column).type)
        table = table.set_column(table.schema.names.index(column), table.schema.field(column), forged)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, use_dictionary=["type", "location", "task", "flow", "flow_run"])
        _renamed(path, sink.getvalue().to_pybytes())


def _swap(folder: Path, dice: random.Random) -> None:
    """That of another place, under the name of this one's."""
    other = folder.parent / f"{folder.name}-other"
    fill(other, dice, 80)
    from cpr.operations.ls import list_results

    list_results(str(other))
    for ours, theirs in zip(files(folder), files(other), strict=False):
        _renamed(ours, theirs.read_bytes())


def _delete(folder: Path, dice: random.Random) -> None:
    for path in files(folder):
        path.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "none": lambda folder, dice: None,
    "deleted": _delete,
    "bytes flipped": _flip,
    "footer flipped, named anew": _flip_and_rename,
    "cut": _cut,
    "another schema": _older,
    "rows that no record has": _forged,
    "another place's": _swap,
}
