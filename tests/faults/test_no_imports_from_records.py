"""A record names types; nothing that it names is ever imported, importable or not."""

from __future__ import annotations

import sys

import pytest

from cpr.errors import RecordError
from cpr.records.registry import RECORD_KEY, load_record
from cpr.records.unpack import unpack

RECORDS = {
    "resource": lambda name: {RECORD_KEY: {"type": name, "location": "/a", "name": "x", "ext": ".txt"}},
    "resource by path": lambda name: {RECORD_KEY: {"type": f"{name}:Thing"}},
    "resource by dots": lambda name: {RECORD_KEY: {"type": f"{name}.Thing"}},
    "dataclass": lambda name: {RECORD_KEY: ["dataclass", f"{name}:Thing", []]},
    "named tuple": lambda name: {RECORD_KEY: ["namedtuple", f"{name}:Thing", []]},
    "model": lambda name: {RECORD_KEY: ["model", f"{name}:Thing", [], []]},
    "enum": lambda name: {RECORD_KEY: ["enum", f"{name}:Thing", "RED"]},
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS.keys())
def test_a_module_that_could_be_imported_is_not(record, tmp_path, monkeypatch):
    name = f"named_by_a_record_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "import dataclasses\n\n@dataclasses.dataclass\nclass Thing:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for load in (unpack, load_record):
        with pytest.raises(RecordError):
            load(record(name))
        assert name not in sys.modules
    # It could be: the test would notice.
    __import__(name)
    assert sys.modules.pop(name).Thing
