"""Write files of every kind with cpr, open each in each other program, and compare: `make test-foreign`.

A program that cannot be had here is skipped, and named. A difference that tests/foreign/limits.py does not
give a reason for fails the run. With --write, docs/interoperability.md is written anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tests.foreign import bioformats_files, foreign_files, install
from tests.foreign.assembled import PLATE, assembled
from tests.foreign.cases import Case, written
from tests.foreign.chains import chains
from tests.foreign.compare import differences
from tests.foreign.install import NotInstalledError
from tests.foreign.limits import LIMITS, limit_of
from tests.foreign.page import Cell, page

READERS = Path(__file__).parent / "readers"
PAGE = Path(__file__).parents[2] / "docs/interoperability.md"
IMAGES = ("ImageJ TIFF", "OME-TIFF", "plain TIFF")
TABLES = ("CSV", "Parquet")


class Reader(NamedTuple):
    """A program that opens files.

    Attributes:
        kinds: of files.
        read: opens those in a file of cases, and leaves its answers in another.
    """

    kinds: tuple[str, ...]
    read: Callable[[list[Case], Path], dict[str, Any]]


def _python(name: str, environment: str = "readers") -> Callable[[list[Case], Path], dict[str, Any]]:
    def read(cases: list[Case], folder: Path) -> dict[str, Any]:
        asked, answers = folder / f"{name}.asked.json", folder / f"{name}.json"
        asked.write_text(json.dumps([asdict(case) for case in cases]))
        python = install.python(environment)
        install.run(python, "-W", "ignore", READERS / "python_readers.py", name, asked, answers)
        return json.loads(answers.read_text())

    return read


def _lines(name: str, command: Callable[[], tuple[Any, ...]]) -> Callable[[list[Case], Path], dict[str, Any]]:
    """A reader that is given paths, and answers on a line for each."""

    def read(cases: list[Case], folder: Path) -> dict[str, Any]:
        asked, answers = folder / f"{name}.txt", folder / f"{name}.lines"
        asked.write_text("\n".join(case.path for case in cases))
        install.run(*command(), asked, answers)
        lines = answers.read_text().splitlines()
        return {case.name: json.loads(line) for case, line in zip(cases, lines, strict=True)}

    return read


def _java(program: str, jar: Callable[[], Path]) -> Callable[[list[Case], Path], dict[str, Any]]:
    source = READERS / f"{program}.java"
    return _lines(program, lambda: (install.java(), "-Djava.awt.headless=true", "-cp", jar(), source))


def _node() -> tuple[Any, ...]:
    # Modules are looked for beside the program.
    return "node", shutil.copy(READERS / "zarrita.mjs", install.node_modules())


ALL = {
    "ImageJ": Reader(IMAGES, _java("ImageJ", install.imagej)),
    "Bio-Formats": Reader(IMAGES, _java("BioFormats", install.bioformats)),
    "bioio": Reader((*IMAGES, "OME-Zarr"), _python("bioio")),
    "GDAL": Reader(IMAGES, _python("gdal")),
    "libvips": Reader(IMAGES, _python("libvips")),
    "OpenCV": Reader(IMAGES, _python("opencv")),
    "Pillow": Reader(IMAGES, _python("pillow")),
    "ngio": Reader(("OME-Zarr", PLATE), _python("ngio")),
    "ome-zarr-models": Reader(("OME-Zarr", PLATE), _python("ome_zarr_models")),
    "yaozarrs": Reader(("OME-Zarr", PLATE), _python("yaozarrs")),
    "tensorstore": Reader(("OME-Zarr", "Zarr v3", "Zarr v2"), _python("tensorstore")),
    "zarr 2": Reader(("Zarr v2",), _python("zarr2", "zarr2")),
    "zarrita": Reader(("Zarr v3", "Zarr v2"), _lines("zarrita", _node)),
    "numpy 1": Reader(("NPY",), _python("numpy", "zarr2")),
    "pandas 2": Reader(TABLES, _python("pandas")),
    "polars": Reader(TABLES, _python("polars")),
    "DuckDB": Reader(TABLES, _python("duckdb")),
    "fastparquet": Reader(("Parquet",), _python("fastparquet")),
}


def main() -> int:
    """Run all, or those that are named."""
    parser = argparse.ArgumentParser(prog="make test-foreign", description=__doc__)
    parser.add_argument("readers", nargs="*", help=f"of {', '.join(ALL)}")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = written(folder, chains, assembled)
        print(f"{len(cases)} files written", flush=True)
        table: dict[tuple[str, str], Cell] = {}
        skipped: dict[str, str] = {}
        wrong: list[str] = []
        for reader in options.readers or ALL:
            started = time.monotonic()
            mine = [case for case in cases if case.kind in ALL[reader].kinds]
            try:
                answers = ALL[reader].read(mine, folder)
            except NotInstalledError as reason:
                skipped[reader] = str(reason)
                print(f"{reader}: SKIPPED, for it cannot be had here: {reason}", flush=True)
                continue
            before = len(wrong)
            for case in mine:
                cell = table.setdefault((reader, case.kind), Cell())
                wrong += _judged(reader, case, answers[case.name], cell)
            taken = time.monotonic() - started
            print(f"{reader}: {len(mine)} files, {len(wrong) - before} wrong, {taken:.0f} s", flush=True)
        read = 0
        for of, write in {} if options.readers else WRITERS.items():
            count, misread = _read_in_turn(folder / f"of {of}", of, write)
            read, wrong = read + count, wrong + misread
    if not options.readers:
        wrong += _of_microscopes()
    for line in wrong:
        print(f"WRONG {line}")
    used = {limit.reason for cell in table.values() for limit in cell.limits}
    for limit in LIMITS:
        if (
            limit.reader not in skipped
            and limit.reader in {row for row, _ in table}
            and limit.reason not in used
        ):
            print(f"no longer a limit of {limit.reader}: {limit.reason}")
    if options.write and not options.readers:
        PAGE.write_text(page(table, skipped, read))
    right = sum(cell.right for cell in table.values())
    print(f"files right in all: {right}; wrong: {len(wrong)}; programs skipped: {len(skipped)}")
    return 1 if wrong else 0


def _by_python(folder: Path) -> None:
    install.run(install.python("readers"), "-W", "ignore", READERS / "python_writers.py", folder)


WRITERS: dict[str, Callable[[Path], None]] = {
    "tifffile, libvips, GDAL, Pillow and OpenCV": _by_python,
    "Bio-Formats": bioformats_files.written,
}


def _read_in_turn(folder: Path, of: str, write: Callable[[Path], None]) -> tuple[int, list[str]]:
    """How many files of another program were read, and what is wrong with which."""
    folder.mkdir()
    try:
        write(folder)
    except NotInstalledError as reason:
        print(f"files of {of}: SKIPPED, for it cannot be had here: {reason}", flush=True)
        return 0, []
    count, wrong = foreign_files.differences(folder)
    print(f"files of {of}: {count}, {len(wrong)} read wrong", flush=True)
    return count, wrong


# Appended to what is installed here already: bioio has no other version of it.
_WITH_BIOIO = """
import sys, pytest
sys.path.append(sys.argv[1])
sys.exit(pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", sys.argv[2]]))
"""


def _of_microscopes() -> list[str]:
    """Files of microscopes, read through bioio: the tests that are skipped where it is not installed."""
    asked = "import sysconfig; print(sysconfig.get_path('platlib'))"
    try:
        packages = install.run(install.python("microscopes"), "-c", asked).strip()
    except NotInstalledError as reason:
        print(f"files of microscopes: SKIPPED, for bioio cannot be had here: {reason}", flush=True)
        return []
    tests = PAGE.parents[1] / "tests/image/test_microscopes.py"
    try:
        last = install.run(sys.executable, "-c", _WITH_BIOIO, packages, tests, seconds=800)
    except NotInstalledError as failed:
        return [f"files of microscopes: {failed}"]
    print(f"files of microscopes: {last.strip().splitlines()[-1]}", flush=True)
    return []


def _judged(reader: str, case: Case, answer: dict[str, Any], cell: Cell) -> list[str]:
    """What is wrong; the rest goes into the cell."""
    found = differences(case, answer)
    wrong = []
    limits = [limit_of(reader, what, case) for what, difference in found.items() if difference]
    for (what, difference), limit in zip(((w, d) for w, d in found.items() if d), limits, strict=True):
        if limit is None:
            wrong.append(f"{reader}: {case.name}: {what}: {difference}")
    cell.count += 1
    cell.told |= {what for what, difference in found.items() if difference is None and what != "opens"}
    cell.limits += [limit for limit in limits if limit is not None]
    cell.right += not any(found.values())
    cell.wrong += bool(wrong)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
