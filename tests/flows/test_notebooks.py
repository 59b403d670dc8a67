"""The notebooks of the documentation run from beginning to end, and show what their text promises."""

from __future__ import annotations

import nbformat
import pytest

from tools import notebooks

PATHS = sorted(notebooks.FOLDER.glob("*.ipynb"))


def shown(notebook) -> str:
    """All texts of its outputs."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_there_are_two():
    assert [path.stem for path in PATHS] == ["images", "results"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_is_committed_names_no_machine(path):
    text = path.read_text("utf-8")
    assert "/data/" in text  # it has its outputs
    assert "/tmp" not in text
    assert "\\u001b" not in text


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_runs(path):
    again = shown(notebooks.run(path))
    committed = shown(nbformat.read(path, 4))
    for promise in {
        "images": ["ImageSource(", "OMEZarrTarget(", "sigma: 2.0 -> 3.0"],
        "results": ["CSVTarget", "threshold: 2000 -> 2500", "9 targets intact", "report.html"],
    }[path.stem]:
        assert promise in again
        assert promise in committed
