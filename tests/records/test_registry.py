"""The table of formats, and what is known of installed plug-ins."""

from __future__ import annotations

import importlib

import pytest

import cpr
from cpr.records import registry


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_each_built_in_class_is_where_the_table_says_and_in_the_package_s_face(name):
    cls = getattr(importlib.import_module(registry.BUILT_IN[name]), name)
    assert registry.lookup(name) is cls is getattr(cpr, name)
    assert name in cpr.__all__


def test_the_table_names_the_extensions_of_its_classes():
    targets = (registry.lookup(name) for name in registry.BUILT_IN if name.endswith("Target"))
    used = {ext for target in targets for ext in target.format_class.extensions}
    assert used == registry._BUILT_IN_EXTENSIONS


def test_media_types_are_those_of_the_formats():
    known = {ext: registry.media_type_of(f"a{ext.upper()}") for ext in registry._BUILT_IN_EXTENSIONS}
    assert {ext for ext, media_type in known.items() if media_type is None} == {".npy"}  # IANA has none
    assert {known[ext] for ext in known if ext.endswith(".gz")} == {"application/gzip"}
    assert registry.media_type_of("a.tsv") == "text/tab-separated-values"
    assert registry.media_type_of("Makefile") is registry.media_type_of("a.nd2") is None


def test_a_plug_in_that_cannot_be_imported_stops_nobody(tmp_path, monkeypatch, caplog):
    about = tmp_path / "broken-1.dist-info"
    about.mkdir()
    (tmp_path / "broken_plug_in.py").write_text("raise RuntimeError('for another Python')")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[cpr.resources]\nBrokenTarget = broken_plug_in:BrokenTarget\n")
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        assert registry.known_extensions() >= registry._BUILT_IN_EXTENSIONS
    assert [record.getMessage() for record in caplog.records] == [
        "BrokenTarget, of a plug-in, cannot be imported, and its files are not known: for another Python"
    ]
