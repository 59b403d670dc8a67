"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

CODE = """
import resource
from pathlib import Path
from cpr.data.memory import return_freed

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

# Small enough that glibc keeps them, between others that stay.
blocks = [bytes(100_000) for _ in range(1000)]
kept = blocks[::10]
del blocks
before = resident()
return_freed()
print(before - resident(), len(kept))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's, which Linux has")
def test_what_was_freed_between_other_blocks_goes_back():
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("another C library")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    returned, kept = map(int, done.stdout.split())
    assert kept == 100
    assert returned > 30_000_000  # of 90, as far as whole pages are free
