"""Writers that store results, forget them and store them again, and are stopped in mid-flight.

    python -m tests.faults.gc_writers '{"base": "s3://...", "writers": 20, "seconds": 12, ...}'

What takes long (importing) is done once; every writer is a fork. Each stores one of a few contents under
`base/data`, so that equal content is adopted all the time, then its record under `base/records`, and drops
an older record: what only that referred to is garbage from then on. Meanwhile some are stopped (SIGSTOP)
and continued at random. Prints one line of JSON: results stored, how many of them under another name than
that of their content, how many were lost while they had a record, the longest time from beginning to
persist until the record was stored, times stopped.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import uuid
from collections import deque
from typing import Any

import numpy as np

from cpr import io
from cpr.io import gc_mark_lists

KEPT = 3  # records of a writer


def write(plan: dict[str, Any], number: int, answer: int, ready: int, go: int) -> None:
    import cpr

    dice = random.Random(number)
    if plan.get("blind"):
        # As if writers knew nothing of marks.
        from unittest.mock import patch

        patch("cpr.storing.is_marked", lambda _url: False).start()  # raises where it is not there any more
    io.lookup(f"{plan['base']}/warm-up")  # connected
    os.write(ready, b".")
    os.read(go, 1)  # until the other end is closed
    ends = time.time() + plan["seconds"]
    stored = renamed = lost = 0
    longest = 0.0
    mine: deque[tuple[str, str]] = deque()
    while time.time() < ends:
        content = dice.randrange(plan["contents"])
        target = cpr.NumpyTarget.from_path(f"{plan['base']}/data/{content % 4}/{content}.npy")
        target.set_data(np.full(2000, content))
        own = target.url
        began = time.time()
        target.persist()
        time.sleep(dice.random() * plan["pause"])
        place = f"{plan['base']}/records/{number:03}-{uuid.uuid4().hex}"
        with io.writing(place) as file:
            file.write(json.dumps(target.serialize()).encode())
        longest = max(longest, time.time() - began)
        stored += 1
        renamed += target.url != own
        mine.append((place, target.url))
        if len(mine) > KEPT:
            # As long as there was a record, there has to be what it refers to.
            lost += io.lookup(mine[0][1]) is None
            io.remove(mine.popleft()[0])
        time.sleep(dice.random() * plan["pause"])
    os.write(answer, (json.dumps([stored, renamed, longest, lost]) + "\n").encode())


def main(plan: dict[str, Any]) -> dict[str, Any]:
    gc_mark_lists.REMEMBERED_SECONDS = plan["remembered"]
    import cpr

    cpr.NumpyTarget
    if plan["base"].startswith("s3:"):
        import botocore.session
        import s3fs  # noqa: F401

        botocore.session.get_session().create_client("s3")  # its descriptions of S3 are read
    reading, answer = os.pipe()
    waiting, ready = os.pipe()
    go, hold = os.pipe()
    children = []
    for number in range(plan["writers"]):
        child = os.fork()
        if child == 0:
            os.close(hold)
            try:
                write(plan, number, answer, ready, go)
            finally:
                sys.stderr.flush()
                os._exit(0)
        children.append(child)
    os.close(answer)
    started = 0
    while started < len(children):
        started += len(os.read(waiting, 1000))
    os.close(hold)
    ends = time.time() + plan["seconds"]
    dice = random.Random(0)
    stops = 0
    while time.time() < ends:
        some = dice.sample(children, max(1, len(children) // 5))
        for child in some:
            os.kill(child, signal.SIGSTOP)
        stops += len(some)
        time.sleep(dice.random() * plan["stop"])
        for child in some:
            os.kill(child, signal.SIGCONT)
        time.sleep(0.05)
    for child in children:
        os.waitpid(child, 0)
    with os.fdopen(reading) as lines:
        answers = [json.loads(line) for line in lines]
    return {
        "writers": len(answers),
        "stored": sum(one[0] for one in answers),
        "renamed": sum(one[1] for one in answers),
        "lost": sum(one[3] for one in answers),
        "longest": max(one[2] for one in answers),
        "stops": stops,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
