"""Memory of commands on large places, each in a process of its own: it hardly grows with the results."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.synthetic import records
from tests.stored_flow import put

_CODE = (
    "import sys\nfrom cpr.cli.app import run\ncode = run(sys.argv[1:])\n"
    # Not ru_maxrss, which begins with that of the process that started this one.
    "peak = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    "print(peak // 1024, file=sys.stderr)\nsys.exit(code)\n"
)


def peak_of(command: str, url: str) -> int:
    """In MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, command, url], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr[-2000:]
    return int(done.stderr.split()[-1])


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="/proc")
@pytest.mark.parametrize("command", ["ls", "gc", "verify"])
def test_five_times_as_many_results_that_are_gone_take_little_more(tmp_path, command):
    for count in (1, 5):
        for name, blob in records(count, f"{tmp_path}/data", targets=8_000):
            put(f"{tmp_path}/{count}/{name}", blob)
    few, many = (peak_of(command, f"{tmp_path}/{count}") for count in (1, 5))
    # Errors in full take three kilobytes of each of 32,000, in `verify` and its table.
    assert many - few < 48
