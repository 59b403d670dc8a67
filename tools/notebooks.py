"""The notebooks in docs/notebooks, run anew, with what they print and show: `python -m tools.notebooks`.

What names this machine and this moment (folders, colours, progress) is taken out.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
# Colours, and what a progress bar has written over; then lines of its own.
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\n]*\r(?!\n)")
PROGRESS = re.compile(r"[^\n]*━━[^\n]*\n?")


def run(path: Path) -> Any:
    """A notebook with its outputs. Raises CellExecutionError, with the cell, where one fails."""
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        home.mkdir()
        environment = {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": f"{folder}/prefect",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
            "PYTHONPATH": str(ROOT),
            "TERM": "dumb",
            "TMPDIR": folder,
            "COLUMNS": "100",
        }
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "CPR_"))
        }
        client = NotebookClient(notebook, timeout=600, kernel_name="python3")
        client.execute(env={**kept, **environment}, cwd=folder)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                found = [_plain(output, folder) for output in cell.outputs]
                cell.outputs = [one for one in found if one.get("text") != ""]
                cell.metadata = {}
    notebook.metadata.pop("widgets", None)
    return notebook


def _plain(value: Any, folder: str) -> Any:
    """An output without what names this machine."""
    if isinstance(value, str):
        shown = PROGRESS.sub("", CONTROLS.sub("", value)).replace("\r\n", "\n")
        return re.sub(rf"{re.escape(folder)}/tmp\w+", "/data", shown)
    if isinstance(value, list):
        return [_plain(item, folder) for item in value]
    if isinstance(value, dict):
        return type(value)({name: _plain(item, folder) for name, item in value.items()})
    return value


def main() -> None:
    """Run all notebooks and write them back."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        print(path.name, flush=True)
        path.write_text(nbformat.writes(run(path), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
