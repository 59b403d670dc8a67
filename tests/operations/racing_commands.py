"""A process that runs commands on results that others change: what each told, and when it was asked.

    python -m tests.operations.racing_commands URL --turns=12 --seed=1 [--settled=SECONDS]

prints a line of JSON for each command: `what`, `start` and `end` by the machine's clock, `told` (by name of a
record, the target that it names) or `count` (of records).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import Any

from cpr.operations.catalogue import listing_columns
from cpr.operations.find import find_results
from cpr.operations.gc import collect
from cpr.operations.ls import list_results


def _ls(url: str) -> dict[str, Any]:
    listed = list_results(url)
    if listed.problems or listed.unrecorded or listed.targets != len(listed.newest):
        raise RuntimeError(f"{listed.problems}, {listed.unrecorded} without a record")
    return {"told": {_name(one.record): one.url for one in listed.newest}}


def _find(url: str) -> dict[str, Any]:
    found = find_results(url)
    results = found.all()
    if found.problems:
        raise RuntimeError(str(found.problems))
    return {"told": {_name(one.record): one.url for one in results}}


def _gc(url: str) -> dict[str, Any]:
    done = collect([url])
    if done.marked or done.deleted:
        raise RuntimeError(str(done))
    return {"count": done.records}


def _name(record: str) -> str:
    return record.rpartition("/")[2]


COMMANDS = {"ls": _ls, "find": _find, "gc": _gc}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--turns", type=int)
    parser.add_argument("--seed")
    parser.add_argument("--settled", type=float)
    given = parser.parse_args()
    if given.settled is not None:
        listing_columns._SETTLED_SECONDS = given.settled
    dice = random.Random(given.seed)
    for _ in range(given.turns):
        what = dice.choices(list(COMMANDS), (4, 2, 1))[0]
        start = time.monotonic()
        answer = COMMANDS[what](given.url)
        print(json.dumps({"what": what, "start": start, "end": time.monotonic(), **answer}), flush=True)


if __name__ == "__main__":
    main()
