"""`make bench`: everything side by side, in turns, against one MinIO; writes docs/benchmarks.md.

python -m bench [--only side_by_side,growth] [--mib 64] [--rounds 1] [--into FOLDER]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
import uuid
from pathlib import Path

from bench import page
from bench.sections import SECTIONS, Row, Size, section
from tests.minio import buckets
from tests.minio.process import Unavailable
from tests.minio.server import running_server

DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas")
    parser.add_argument("--mib", type=int, default=Size.mib, help="of the large arrays; in docs 1024")
    parser.add_argument("--rounds", type=int, default=Size.rounds)
    parser.add_argument("--into", type=Path, help="folder of the page; docs for the full size, else nowhere")
    chosen = parser.parse_args()
    size = Size(chosen.mib, chosen.rounds)
    into = chosen.into or (DOCS if size.mib == Size.mib else None)
    os.environ.setdefault("CPR_TEST_S3", "container,binary")
    failed = []
    started = time.monotonic()
    try:
        with running_server(build=True, say=print) as server, server.exported():
            print(f"S3 server: {server.description}", flush=True)
            for name in chosen.only.split(","):
                begun = time.monotonic()
                prefix = uuid.uuid4().hex
                try:
                    rows = section(name).run(f"s3://{server.bucket}/{prefix}", size)
                except Exception:
                    # The others are worth having all the same.
                    traceback.print_exc()
                    failed.append(name)
                else:
                    show(name, rows, into, size, server.description)
                finally:
                    buckets.empty(server.client(), server.bucket, f"{prefix}/")
                print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    except Unavailable as error:
        print(f"No MinIO is to be had: {error}")
        return 1
    print(
        f"{(time.monotonic() - started) / 60:.1f} minutes{'; failed: ' if failed else ''}{', '.join(failed)}"
    )
    return 1 if failed else 0


def show(name: str, rows: list[Row], into: Path | None, size: Size, server: str) -> None:
    """Print what a section found and put it into the page."""
    print(f"\n{section(name).report(rows)}\n", flush=True)
    if into is not None:
        page.keep(into, name, rows, size, server)


if __name__ == "__main__":
    sys.exit(main())
