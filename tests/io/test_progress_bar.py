"""Progress bars, in a real terminal and a real notebook."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import textwrap
from contextlib import suppress

import pytest

from cpr.io.progress_bar import progress_bar

# Bars are shown at once, and every step is drawn.
BEGIN = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np, pandas as pd
import rich.live
import cpr, cpr.io.progress_bar as bars
import cpr.prefect.run_log as run_log
bars._AFTER = bars._EVERY = 0.0

def mark(name):
    print(f"<{name}>", end="", file=sys.stderr, flush=True)

def array(name, data=np.zeros((300, 100, 100))):
    target = cpr.NumpyTarget.from_path(f"{folder}/{name}.npy")
    target.set_data(data)
    return cpr.load(target.persist().serialize())
"""
SHOWN = """
mark("file")
stored = array("cells")
mark("read")
stored.get_data()
mark("check")
stored.check(full=True)
mark("frames")
frames = (pd.DataFrame({"a": np.arange(50_000)}) for _ in range(9))
cpr.CSVTarget.from_path(f"{folder}/table.csv").set_data(frames)
mark("zarr")
volume = cpr.ZarrTarget.from_path(f"{folder}/volume.zarr", chunks=(1, 64, 64))
volume.set_data(np.zeros((9, 64, 64)))
mark("verify")
volume.persist().verify()
mark("both")
def planes():
    yield from stored.get_data()
cpr.NumpyTarget.from_path(f"{folder}/copy.npy").set_data(planes(), shape=(300, 100, 100), dtype=float)
mark("end")
"""
TITLES = {
    "file": "writing cells-",
    "read": "reading cells-",
    "check": "reading cells-",
    "frames": "writing table-",
    "zarr": "writing volume-",
    "verify": "verifying volume-",
    "both": "writing copy-",
}
SILENT = """
mark("thread")
ThreadPoolExecutor(1).submit(array, "a").result()
mark("run")
get, run_log.TaskRunContext.get = run_log.TaskRunContext.get, lambda: object()
array("b")
run_log.TaskRunContext.get = get
mark("screen that fails")
rich.live.Live.start = lambda self: 1 / 0
assert array("c").get_data().shape == (300, 100, 100)
mark("quick")
bars._AFTER = 600.0
array("d")
mark("end")
"""


def in_terminal(code: str, folder: object, **variables: str) -> dict[str, str]:
    """What a terminal gets of a program's stderr, by the marks in it."""
    ours, theirs = pty.openpty()
    environment = {
        name: value for name, value in os.environ.items() if name not in {"CPR_PROGRESS", "COLUMNS"}
    }
    environment |= {"TERM": "xterm", "COLUMNS": "160", **variables}
    command = [sys.executable, "-c", f"folder = {str(folder)!r}{BEGIN}{code}"]
    process = subprocess.Popen(command, stderr=theirs, env=environment)
    os.close(theirs)
    data = b""
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while piece := os.read(ours, 65536):
            data += piece
    os.close(ours)
    text = data.decode()
    assert process.wait(300) == 0, text
    pieces = re.split(r"<([a-z ]+)>", text)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def test_a_terminal_shows_bars_and_is_left_clean(tmp_path):
    shown = in_terminal(SHOWN, tmp_path)
    assert shown.keys() == {*TITLES, "end"}
    for name, title in TITLES.items():
        assert title in shown[name], name
        assert re.search(r" [0-9.]+ ([KMGT]i)?B/s|objects", shown[name]), name
        # The last thing that the bar does is to erase its lines.
        assert shown[name].rstrip("\r\n").endswith("\x1b[2K"), name
    assert "reading" not in shown["both"]  # one bar at a time
    assert shown["end"].strip() == ""


def test_there_is_none_in_threads_in_runs_and_of_what_is_quick(tmp_path):
    shown = in_terminal(SILENT, tmp_path)
    assert set(shown.values()) == {""}
    assert len(shown) == 5


@pytest.mark.parametrize("variables", [{"CPR_PROGRESS": "off"}, {"TERM": "dumb"}], ids=str)
def test_there_is_none_where_it_is_not_wanted(variables, tmp_path):
    assert in_terminal("mark('write')\narray('a')", tmp_path, **variables) == {"write": ""}


def test_who_looks_nowhere_costs_nothing():
    with progress_bar("reading", "s3://bucket/cells.tif") as advance:
        assert advance is None


@pytest.mark.slow
def test_a_notebook_shows_a_bar_and_keeps_nothing_of_it(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    keep = """
    import IPython.display as d
    kept, html = [], d.HTML
    d.HTML = lambda text: (kept.append(text), html(text))[1]
    array("cells").get_data();
    print(kept)
    """
    code = f"folder = {str(tmp_path)!r}{BEGIN}{textwrap.dedent(keep)}"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    shown = [output["data"]["text/html"] for output in outputs if output.output_type == "display_data"]
    assert set(shown) == {""}
    printed = "".join(output.get("text", "") for output in outputs)
    assert "<progress value=" in printed
    assert "writing cells-" in printed
    assert "reading cells-" in printed
