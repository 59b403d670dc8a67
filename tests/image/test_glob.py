"""Which of the files that a pattern matches are images."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tifffile

import cpr
from cpr.errors import UnsupportedExtensionError

ARRAY = np.zeros((4, 5), "uint8")


@pytest.fixture
def folder(tmp_path):
    def filled(*names):
        for name in names:
            if name[0].islower():
                tifffile.imwrite(
                    tmp_path / name, ARRAY, bigtiff="big" in name, byteorder=">" if "be" in name else "<"
                )
            else:
                (tmp_path / name).write_text("all: test\n")
        return tmp_path

    return filled


@pytest.mark.parametrize("other", ["Makefile", "LICENSE", "E"])
def test_a_file_of_another_kind_beside_tiffs_is_refused(folder, other):
    path = folder("a.tif", "b.tif", other)
    with pytest.raises(UnsupportedExtensionError, match=other) as caught:
        cpr.ImageSource.glob(f"{path}/*")
    narrow = caught.value.remedy.removeprefix("narrow the pattern: ").partition("; or ")[0]
    found = eval(narrow, {"ImageSource": cpr.ImageSource})
    assert [one.name for one in found] == ["a", "b"]


def test_tiffs_without_an_extension_are_taken_beside_others(folder):
    path = folder("a.tif", "b", "big", "be")
    assert [one.name for one in cpr.ImageSource.glob(f"{path}/*")] == ["a", "b", "be", "big"]


def test_names_without_an_extension_alone_are_not_looked_into(folder, monkeypatch):
    path = folder("img1", "img2", "Makefile")
    monkeypatch.setattr(sys.modules["cpr.image.ImageSource"], "_begins_as_tiff", None)
    found = cpr.ImageSource.glob(f"{path}/*")
    assert [one.name for one in found] == ["Makefile", "img1", "img2"]
    with pytest.raises(cpr.DecodeError):
        found[0].get_data()


@pytest.mark.parametrize(("pattern", "narrow"), [("*", "*.tif"), ("**", "**/*.tif"), ("*t*", "*.tif")])
def test_a_name_with_another_extension_tells_of_a_narrower_pattern(folder, pattern, narrow):
    path = folder("a.tif", "Notes.txt")
    with pytest.raises(UnsupportedExtensionError, match="Notes") as caught:
        cpr.ImageSource.glob(f"{path}/{pattern}")
    assert f"ImageSource.glob({f'{path}/{narrow}'!r})" in caught.value.remedy
    assert [one.name for one in cpr.ImageSource.glob(f"{path}/{narrow}")] == ["a"]
