"""Variables that set cpr: a value that means nothing raises where it would count."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.data.memory import require_memory
from cpr.errors import ConfigurationError
from cpr.io.config import VARIABLE as STORAGE
from cpr.io.progress_bar import progress_bar
from cpr.io.timeouts import request_seconds
from cpr.io.transfer_width import connections
from cpr.io.variables import VARIABLES

ROOT = Path(cpr.__file__).parents[1]


def shown(tmp_path):
    with progress_bar("reading", "s3://bucket/a", total=1):
        pass


def written(tmp_path):
    target = cpr.NumpyTarget.from_path(tmp_path / "a.npy")
    target.set_data(np.arange(3))
    target.persist()


def table_written(tmp_path):
    target = cpr.CSVTarget.from_path(tmp_path / "a.csv")
    target.set_data(pd.DataFrame({"a": [1]}))
    target.persist()


def zarr_written(tmp_path):
    pytest.importorskip("zarr")
    target = cpr.ZarrTarget.from_path(tmp_path / "a.zarr")
    target.set_data(np.arange(3))
    target.persist()


def zarr_read(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.save_array(tmp_path / "b.zarr", np.arange(3), zarr_format=2)
    cpr.ZarrSource.from_path(tmp_path / "b.zarr").get_data()[...]


USES = {
    "CPR_CHECKSUM": [written, table_written, zarr_written],
    "CPR_CONNECTIONS": [lambda _: connections()],
    "CPR_MEMORY": [lambda _: require_memory(1 << 30, "the pixels")],
    "CPR_OPENLINEAGE": [lambda _: VARIABLES["CPR_OPENLINEAGE"].get()],
    "CPR_PROGRESS": [shown],
    "CPR_TIMEOUT": [lambda _: request_seconds()],
    "CPR_ZARR_CODECS": [zarr_read],
}
WRONG = {
    "CPR_CHECKSUM": ["md5", "SHA256", "sha-256", "xxh3_128:", "1"],
    "CPR_CONNECTIONS": ["0", "-1", "1.5", "many", "1e2", "٣"],
    "CPR_MEMORY": ["0", "64 GiBs", "a lot", "-1", "1.5GiB", "64PiB", "٣GiB"],
    "CPR_OPENLINEAGE": ["maybe", "2", "On!"],
    "CPR_PROGRESS": ["none", "of", "never", "2"],
    "CPR_TIMEOUT": ["0", "-1", "nan", "inf", "60s", "1 minute"],
    "CPR_ZARR_CODECS": ["lz4;zstd", "lz4,z/std", '["lz4"]'],
}
RIGHT = {
    "CPR_CHECKSUM": {"sha256": "sha256", " xxh3_128 ": "xxh3_128", "blake3": "blake3"},
    "CPR_CONNECTIONS": {"1": 1, " 96": 96},
    "CPR_MEMORY": {"1000000000000": 10**12, "64GiB": 64 << 30, "64 gb": 64 << 30, "1T": 1 << 40},
    "CPR_OPENLINEAGE": {"1": True, "Yes": True, "off": False},
    "CPR_PROGRESS": {"off": False, "FALSE": False, "0": False, "on": True},
    "CPR_TIMEOUT": {"60": 60.0, "0.5": 0.5, "1e3": 1000.0},
    "CPR_ZARR_CODECS": {"vlen-utf8": {"vlen-utf8"}, "a, b": {"a", "b"}, "numcodecs.lz4,": {"numcodecs.lz4"}},
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_value_that_means_nothing_is_named_with_what_may_be_there(name, text, tmp_path, monkeypatch):
    monkeypatch.setenv(name, text)
    for use in USES[name]:
        with pytest.raises(ConfigurationError) as caught:
            use(tmp_path)
        error = caught.value
        assert error.field == name
        assert error.actual == ascii(text)
        assert error.expected == VARIABLES[name].expected
        assert name in error.remedy
    files = (path for path in tmp_path.rglob("*") if path.is_file())
    assert [path for path in files if "b.zarr" not in path.parts] == []


@pytest.mark.parametrize("name", VARIABLES)
def test_the_example_of_a_remedy_works(name, monkeypatch):
    monkeypatch.setenv(name, VARIABLES[name].example)
    assert VARIABLES[name].get() is not None


@pytest.mark.parametrize(
    ("name", "text", "value"), [(name, *pair) for name, pairs in RIGHT.items() for pair in pairs.items()]
)
def test_values_that_mean_something(name, text, value, tmp_path, monkeypatch):
    monkeypatch.setenv(name, text)
    assert VARIABLES[name].get() == value


@pytest.mark.parametrize("text", [None, "", "  "])
@pytest.mark.parametrize("name", VARIABLES)
def test_an_empty_variable_is_as_if_it_were_not_set(name, text, tmp_path, monkeypatch):
    if text is None:
        monkeypatch.delenv(name, raising=False)
    else:
        monkeypatch.setenv(name, text)
    assert VARIABLES[name].get() is None
    for use in USES[name]:
        use(tmp_path)


def test_the_readme_has_a_row_for_each():
    rows = re.findall(r"^\| `(CPR_\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows == sorted({*VARIABLES, STORAGE})


def test_no_other_module_asks_the_environment_for_them():
    asking = []
    for path in (ROOT / "cpr").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Subscript) else ""
            if "environ" in text and "CPR_" in text:
                asking.append(path.name)
    assert asking == []
