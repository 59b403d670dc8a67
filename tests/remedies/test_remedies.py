"""Errors of formats name a remedy, and the remedy works: every one is carried out.

What a new error or warning in these packages says to do needs a row that does it.
"""

from __future__ import annotations

import functools
import re

import pytest

pytest.importorskip("dask.array")
pytest.importorskip("pyarrow")
pytest.importorskip("zarr")

from tests.remedies import arrays, foreign_tables, images, microscopes, tables, tiffs, zarrs
from tests.remedies.sites import Heard, heard, sites

ZARR = ("OMEZarrSource", "OMEZarrTarget", "chunking", "dask", "typed_error_nodes", "options", "reading")
PLACES = ("csv", "data", "image", "numpy", "parquet", "zarr/ome", *(f"zarr/{name}.py" for name in ZARR))
TABLES = {
    "arrays": arrays,
    "images": images,
    "microscopes": microscopes,
    "tables": tables,
    "tables of others": foreign_tables,
    "TIFFs": tiffs,
    "Zarrs": zarrs,
}
ROWS = {f"{table}: {name}": row for table, rows in TABLES.items() for name, row in rows.ROWS.items()}


@functools.cache
def told(name: str) -> Heard:
    return heard(ROWS[name].fails)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ROWS)
def test_the_remedy_works(name):
    _, named, works = ROWS[name]
    said = told(name).said
    assert any(named in re.sub(r"\s+", " ", text) for text in said), said
    assert works() is not None


@pytest.mark.filterwarnings("ignore")
def test_every_remedy_has_a_row():
    rows = [told(name) for name in ROWS]
    missing = []
    for site in sites(*PLACES):
        met = set().union(*(row.met_at(site) for row in rows))
        missing += [f"{site}: {text}" for text in site.texts if text not in met]
    assert not missing, "no row carries out:\n" + "\n".join(missing)
