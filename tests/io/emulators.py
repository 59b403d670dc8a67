"""A GCS emulator for tests of what only Google's own upload can do."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.minio.binaries import find
from tests.minio.process import Unavailable, free_ports, kept


@contextmanager
def running_gcs() -> Iterator[tuple[str, dict[str, str]]]:
    """`gs://bucket` of a fresh emulator, and the variables that lead to it. Raises Unavailable."""
    program = find("fake-gcs-server")
    if program is None:
        raise Unavailable("no fake-gcs-server on PATH or in .tools/bin")
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", address]
    variables = {
        "STORAGE_EMULATOR_HOST": f"http://{address}",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }

    body = json.dumps({"name": "locks-bucket"}).encode()
    request = urllib.request.Request(
        f"http://{address}/storage/v1/b?project=p", body, {"Content-Type": "application/json"}
    )
    with kept(command, dict(os.environ)) as process:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(request, timeout=10).close()
                break
            except urllib.error.URLError:
                if time.monotonic() > deadline or process.keeper.poll() is not None:
                    raise Unavailable(process.said()) from None
                time.sleep(0.1)
        yield "gs://locks-bucket", variables
