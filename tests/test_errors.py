"""The exception tree of the design, and that its members cross process boundaries."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from cpr import errors

TREE = {
    "ResourceError": ("CprError",),
    "ResourceNotFoundError": ("ResourceError", FileNotFoundError),
    "CorruptDataError": ("ResourceError", ValueError),
    "NoDataError": ("ResourceError", ValueError),
    "PartError": ("ResourceError", ValueError),
    "SourceChangedError": ("ResourceError",),
    "TransferError": ("ResourceError", OSError),
    "UnsupportedStoreError": ("ResourceError", NotImplementedError),
    "FormatError": ("CprError", ValueError),
    "UnsupportedExtensionError": ("FormatError",),
    "EncodeError": ("FormatError",),
    "DecodeError": ("FormatError",),
    "RecordError": ("CprError", ValueError),
    "ConfigurationError": ("CprError", ValueError),
    "DuplicateTypeError": ("CprError", ValueError),
    "MissingDependencyError": ("CprError", ImportError),
    "UsageError": ("CprError", TypeError, AttributeError),
}


def test_the_tree_is_complete():
    assert set(TREE) | {"CprError"} == set(errors.__all__)


@pytest.mark.parametrize("name", TREE)
def test_parents(name):
    cls = getattr(errors, name)
    for parent in TREE[name]:
        assert issubclass(cls, getattr(errors, parent) if isinstance(parent, str) else parent)


@pytest.mark.parametrize("name", errors.__all__)
def test_pickles_with_everything_it_says(name):
    error = getattr(errors, name)(
        "is bad", url="s3://b/a", field="f", expected=1, actual=(2,), remedy="do this"
    )
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    said = "s3://b/a, f: is bad; expected 1; found (2,). Remedy: do this"
    assert str(again) == str(error) == f"{said}; see docs/errors.md#{name.lower()}"


def test_an_error_says_where_its_cause_is_told():
    class Own(errors.DecodeError):
        """Of a format of one's own."""

    assert str(Own("not JSON")) == "not JSON; see docs/errors.md#decodeerror"
    assert str(Own("not JSON", topic="no-answer")) == "not JSON; see docs/errors.md#no-answer"


def test_every_error_has_its_place_in_the_docs():
    page = (Path(__file__).parents[1] / "docs" / "errors.md").read_text()
    for name in errors.__all__:
        _, _, rest = page.partition(f"\n## {name}\n")
        entry = rest.partition("\n## ")[0]
        assert "**Cause.**" in entry, name
        assert "**Remedy.**" in entry, name
        bases = {base.__name__ for base in getattr(errors, name).__bases__} - {"CprError", "Exception"}
        (row,) = re.findall(rf"^\| \[`{name}`\]\(#{name.lower()}\) \| (.*?) \|", page, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", row)) == bases, name


class Mute:
    """What cannot be spelled."""

    def __repr__(self):
        raise LookupError


@pytest.mark.parametrize("value", [10**5000, [10**5000], {10**5000: 1}, Mute(), [Mute()]], ids=range(5))
def test_what_cannot_be_spelled_is_told_by_its_kind(value):
    assert errors.spelled(value) == errors.shown(value) == type(value).__name__


def test_others_are_spelled_and_shortened():
    assert errors.spelled("µm") == "'µm'"
    assert errors.spelled("µ" * 100, 10) == "'" + "µ" * 9
