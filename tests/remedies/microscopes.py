"""Remedies for files of microscopes; bioio and its readers are stood in for."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import cpr
from tests.image import fake_bioio
from tests.remedies.rows import Row

MODULES = ("bioio", "bioio_czi", "bioio_nd2", "bioio_lif")
NO_SIZES = {"no sizes": ("TCZYX", np.ones((1, 1, 1, 4, 5), "uint8"))}
STACK = np.arange(2 * 3 * 4 * 5 * 6, dtype="uint16").reshape(2, 3, 4, 5, 6)


@contextlib.contextmanager
def _modules(folder: Path | None) -> Iterator[None]:
    """Have these modules from a folder, or none."""
    former = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    if folder is None:
        sys.modules.update(dict.fromkeys(MODULES))  # type: ignore[arg-type]
    else:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if folder is not None:
            sys.path.remove(str(folder))
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(former)


def with_bioio(use: Callable[[Path], Any], **scenes: Any) -> Callable[[], Any]:
    """A call of `use` with the path of a file that bioio reads."""

    def call() -> Any:
        with tempfile.TemporaryDirectory() as folder, _modules(Path(folder)):
            fake_bioio.install(Path(folder))
            path = Path(folder, "embryo.czi")
            fake_bioio.write(path, **(scenes or {"stack": ("TCZYX", STACK)}))
            return use(path)

    return call


def without_bioio(use: Callable[[], Any]) -> Any:
    with _modules(None):
        return use()


def read(path: Path, **options: Any) -> Any:
    return cpr.ImageSource.from_path(path, **options).get_data()


def _damaged(path: Path) -> Any:
    path.write_bytes(b"nothing that anybody reads")
    return read(path)


def _all_axes(path: Path) -> Any:
    import bioio
    from bioio_czi import Reader

    data = bioio.BioImage(str(path), reader=Reader).reader.xarray_dask_data
    assert np.array_equal(np.asarray(data), STACK[0])
    return data


ROWS: dict[str, Row] = {
    "pages of no TIFF": Row(
        with_bioio(functools.partial(read, description=False)), "leave it out", with_bioio(read)
    ),
    "no bioio": Row(
        lambda: without_bioio(lambda: cpr.ImageSource.from_path("a.czi")), "pip install bioio bioio-czi",
        with_bioio(read),
    ),
    "a damaged file": Row(with_bioio(_damaged), "restore the file", with_bioio(read)),
    "an axis that bioio leaves out": Row(
        with_bioio(read, scene=("HZYX", STACK[0])), "reader.xarray_dask_data has all",
        with_bioio(_all_axes, scene=("HZYX", STACK[0])),
    ),
    "no sizes": Row(
        with_bioio(lambda path: cpr.ImageSource.from_path(path).get_metadata(), **NO_SIZES),
        "cannot tell the file's physical_pixel_sizes", with_bioio(read, **NO_SIZES),
    ),
}  # fmt: skip
