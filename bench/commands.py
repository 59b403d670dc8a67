"""How much work commands take as results become more: CPU seconds on local disk, and the growth they show.

    python -m bench.commands FOLDER [--counts 1000,10000,100000]

prints the table of docs/decisions/catalogue.md. The records are `bench.synthetic`'s; their targets are not
there, so that `verify` finds each of them missing. CPU seconds: other work on the machine changes them least.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

from bench.synthetic import records

# The catalogue is built by the first, and read by those that use it.
COMMANDS = {
    "`ls`, first": ["ls", "URL"],
    "`ls`": ["ls", "URL"],
    "`show` of one": ["show", "URL", "NAME"],
    "`why` of one": ["why", "URL", "NAME"],
    "`lineage` of one": ["lineage", "URL", "NAME"],
    "`report`": ["report", "URL", "-o", "OUT"],
    "`verify`": ["verify", "URL"],
    "`gc`": ["gc", "URL"],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.commands", description=__doc__)
    parser.add_argument("folder", type=Path, help="for the records; they stay there")
    parser.add_argument("--counts", default="1000,10000,100000", help="of records, three that grow alike")
    chosen = parser.parse_args()
    counts = [int(count) for count in chosen.counts.split(",")]
    for count in counts:
        write(chosen.folder / str(count), count)
    heads = "".join(f" {count:,} |" for count in counts)
    print(f"| |{heads} growth |\n| ---{' | ---:' * (len(counts) + 1)} |", flush=True)
    for name, words in COMMANDS.items():
        seconds = []
        for count in counts:
            url = str(chosen.folder / str(count))
            given = {"URL": url, "OUT": f"{url}.html", "NAME": f"cell-{count // 2:07d}"}
            seconds.append(cpu_seconds([given.get(word, word) for word in words]))
        cells = "".join(f" {taken:.2f} s |" for taken in seconds)
        print(f"| {name} |{cells} {exponent(counts, seconds)} |", flush=True)
    return 0


def write(folder: Path, count: int) -> None:
    """Records in a folder, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if sum(1 for _ in folder.iterdir()) >= count:
        return
    for name, content in records(count, str(folder.absolute())):
        (folder / name).write_bytes(content)


def cpu_seconds(words: list[str]) -> float:
    """What one command takes of the processor, in all its threads, with its imports."""
    before = os.times()
    done = subprocess.run([sys.executable, "-m", "cpr", *words], stdout=subprocess.PIPE, check=False)
    after = os.times()
    if done.returncode not in (0, 1, 3):  # 3: there is nothing at the URL, or nothing could be read
        raise RuntimeError(f"{words}: exit code {done.returncode}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def exponent(counts: list[int], seconds: list[float]) -> str:
    """`n^0.9`, from what each step to the next count adds: imports are in none of that."""
    steps = [after - before for before, after in itertools.pairwise(seconds)]
    if max(steps) < seconds[0] / 2:
        return "less than the imports"
    return f"n^{math.log(steps[-1] / max(steps[0], 0.01)) / math.log(counts[-1] / counts[-2]):.1f}"


if __name__ == "__main__":
    sys.exit(main())
