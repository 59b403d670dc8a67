"""Two runs compared: which results differ, why, and by how much."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.errors import ResourceNotFoundError
from cpr.operations import data_difference
from cpr.operations.data_difference import change_between
from cpr.operations.run_diff import diff_runs
from cpr.previews.thumbnails import decode_png
from cpr.provenance.provenance_record import Input, Made
from cpr.provenance.why_not_reused import render
from tests.stored_flow import prefect_record, put

OLD, NEW = "0a" * 16, "0b" * 16


class Runs:
    """Runs of a flow that makes a mask and a table of a raw image, as they leave records."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._count = 0

    def make(self, run, task, name, data, sigma=2, parent=None, **options):
        self._count += 1
        kind = (
            cpr.CSVTarget
            if name.endswith(".csv")
            else cpr.ZarrTarget
            if name.endswith("zarr")
            else cpr.ImageTarget
        )
        target = kind.from_path(f"{self.url}/data/{run[:2]}/{name}", **options)
        target.set_data(data)
        given = {"sigma": Input("int", sigma)}
        if parent is not None:
            given["image"] = Input(type(parent).__name__, digest=parent.data_hash, url=parent.url)
        target.set_made(
            Made(
                task=task,
                flow_run=run,
                task_run=f"{self._count:032x}",
                at=1_790_000_000 + self._count,
                inputs=given,
            )
        )
        put(f"{self.url}/records/{self._count:032x}", prefect_record(target.serialize()))
        return target


@pytest.fixture
def runs(tmp_path):
    return Runs(f"{tmp_path}/run")


IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)


def test_what_differs_why_and_by_how_much(runs):
    changed = IMAGE.copy()
    changed[3, 4:6] += 7
    old_mask = runs.make(OLD, "segment", "mask.tif", IMAGE)
    runs.make(OLD, "measure", "table.csv", pd.DataFrame({"n": [1, 2], "t": ["a", "b"]}), parent=old_mask)
    runs.make(OLD, "measure", "same.tif", IMAGE)
    runs.make(OLD, "measure", "gone.tif", IMAGE)
    new_mask = runs.make(NEW, "segment", "mask.tif", changed, sigma=3)
    runs.make(NEW, "measure", "table.csv", pd.DataFrame({"n": [1, 5], "t": ["a", "b"]}), parent=new_mask)
    runs.make(NEW, "measure", "same.tif", IMAGE)
    runs.make(NEW, "measure", "new.tif", IMAGE)
    found = diff_runs(runs.url, OLD[:5], NEW)
    assert (found.old_run, found.new_run, found.same) == (OLD, NEW, 1)
    assert [url.rpartition("/")[2].partition("-")[0] for url in (*found.only_old, *found.only_new)] == [
        "gone",
        "new",
    ]
    mask, table = found.changed
    assert (mask.name, mask.task, mask.old, mask.new) == ("mask.tif", "segment", old_mask.url, new_mask.url)
    assert [render(one) for one in mask.causes] == ["sigma: 2 -> 3"]
    assert (mask.change.unit, mask.change.total, mask.change.different, mask.change.largest) == (
        "pixel",
        64,
        2,
        7,
    )
    picture = decode_png(mask.change.picture)[..., 0]
    assert np.array_equal(picture > 0, changed != IMAGE)
    assert [one.name for one in table.causes] == ["image"]
    assert (table.change.unit, table.change.total, table.change.different, table.change.largest) == (
        "cell",
        4,
        1,
        3,
    )
    same = diff_runs(runs.url, OLD, OLD)
    assert (same.same, same.changed, same.only_old, same.only_new) == (4, [], [], [])
    assert diff_runs(runs.url, OLD, NEW, data=False).changed[0].change is None


def test_what_a_run_found_in_the_cache_is_its_own(runs):
    mask = runs.make(OLD, "segment", "mask.tif", IMAGE)
    runs.make(OLD, "measure", "table.csv", pd.DataFrame({"n": [1]}), parent=mask)
    runs.make(NEW, "measure", "table.csv", pd.DataFrame({"n": [2]}), sigma=5, parent=mask)
    found = diff_runs(runs.url, OLD, NEW)
    assert (found.same, len(found.changed), found.only_old) == (1, 1, [])


def test_options_that_differ_are_named(runs):
    runs.make(OLD, "segment", "mask.tif", IMAGE, resolution=(1.0, 1.0), metadata={"unit": "um"})
    runs.make(NEW, "segment", "mask.tif", IMAGE, resolution=(2.0, 2.0), metadata={"unit": "um"})
    (one,) = diff_runs(runs.url, OLD, NEW).changed
    assert (one.options, one.change) == (("resolution",), None)


def test_arrays_of_zarr_are_read_by_parts(runs, monkeypatch):
    monkeypatch.setattr(data_difference, "_BLOCK", 100)
    big = np.arange(6 * 40 * 30, dtype=np.int16).reshape(6, 40, 30)
    other = big.copy()
    other[4, 33, 7:9] = -1
    runs.make(OLD, "segment", "stack.zarr", big, chunks=(1, 20, 20))
    runs.make(NEW, "segment", "stack.zarr", other, chunks=(1, 20, 20))
    (one,) = diff_runs(runs.url, OLD, NEW).changed
    assert (one.change.total, one.change.different) == (big.size, 2)
    assert one.change.largest == int(big[4, 33, 8]) + 1
    assert np.array_equal(decode_png(one.change.picture)[..., 0] > 0, (big != other).any(axis=0))


def test_results_that_are_gone_stop_nothing(runs):
    runs.make(OLD, "segment", "mask.tif", IMAGE)
    new = runs.make(NEW, "segment", "mask.tif", IMAGE + 1)
    cpr.io.remove(new.url)
    (one,) = diff_runs(runs.url, OLD, NEW).changed
    assert (type(one.problem).__name__, one.change) == ("ResourceNotFoundError", None)


@pytest.mark.parametrize(
    ("run", "problem"), [("cc", "no record here"), ("0", "several runs"), ("", "no record")]
)
def test_a_run_has_to_be_one(runs, run, problem):
    runs.make(OLD, "segment", "mask.tif", IMAGE)
    runs.make(NEW, "segment", "mask.tif", IMAGE)
    with pytest.raises(ResourceNotFoundError, match=problem):
        diff_runs(runs.url, run, NEW)


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize(
    "shape", [(), (0,), (5,), (3, 0), (7, 9), (4, 7, 9), (2, 3, 5, 6), (6, 5, 3), (2, 6, 5, 4), (1, 1, 3000)]
)
def test_each_pixel_counts_once_whatever_the_blocks(shape, block, monkeypatch):
    monkeypatch.setattr(data_difference, "_BLOCK", block)
    dice = np.random.default_rng(len(shape))
    old, new = (dice.integers(0, 4, shape).astype(np.int32) for _ in range(2))
    found = change_between(old, new)
    assert (found.total, found.different) == (old.size, np.count_nonzero(old != new))
    expected = np.abs(new - old).max().item() if old.size else 0
    assert (found.largest or 0) == expected


@pytest.mark.parametrize(
    ("old", "new", "different", "largest"),
    [
        (np.array([0], np.uint8), np.array([255], np.uint8), 1, 255),
        (np.array([-(2**63)]), np.array([2**63 - 1]), 1, 2**64 - 1),
        (np.array([-5], np.int8), np.array([250], np.uint8), 1, 255),
        (np.array([True, False]), np.array([True, True]), 1, 1),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.5]), 1, 0.5),
        (np.array([np.nan, 1.0]), np.array([0.0, 1.0]), 1, None),
        (np.array([np.inf, -np.inf]), np.array([np.inf, np.inf]), 1, np.inf),
        (np.array([3 + 4j]), np.array([0j]), 1, 5.0),
        (np.array([1], np.uint8), np.array([1.0]), 0, None),
        (np.array(["a", "b"]), np.array(["a", "c"]), 1, None),
        (np.array(["2026-01-01"], "M8[D]"), np.array(["2026-01-02"], "M8[D]"), 1, None),
        (np.array([1, 2]), np.array([1, 2, 3]), 0, None),
    ],
)
def test_numbers_of_all_sorts(old, new, different, largest):
    for pair in ((old, new), (new, old)):
        found = change_between(*pair)
        assert (found.different, found.largest) == (different, largest)


def test_tables_of_other_shapes():
    old = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", None, "z"], "gone": 1})
    new = pd.DataFrame({"a": [1.0, np.nan, 4.5, 9.0], "b": ["x", None, "y", "w"], "new": 1})
    found = change_between(old, new)
    assert (found.total, found.different, found.largest) == (6, 2, 1.5)
    assert found.notes == ("column gone is gone", "column new is new", "3 -> 4 rows")
    assert change_between(old, old).different == 0
    assert change_between(old, old.set_index("a")).notes
    assert change_between(old, np.zeros(3)) is None
    assert change_between("text", "other") is None


COLUMNS = {
    **{kind: pd.array([1, None, 0], kind) for kind in ("Int8", "Int64", "UInt8", "Float64", "boolean")},
    **{f"{kind} whole": pd.array([1, 1, 0], kind) for kind in ("Int64", "int64", "float32", "bool")},
    **{kind: pd.array(["a", None, "b"], kind) for kind in ("string", "object", "category")},
    **{f"{kind} of numbers": pd.array([1, None, 0], kind) for kind in ("float64", "object", "category")},
    "dates": pd.array(["2026-01-01", None, "2026-01-03"], "datetime64[ns]"),
    "dates of a zone": pd.array(["2026-01-01", None, "2026-01-03"], "datetime64[us, UTC]"),
    "durations": pd.array([1, None, 3], "timedelta64[s]"),
    "lists": pd.Series([[1, 2], None, [3]]).array,
    **{f"{kind}[pyarrow]": pd.array([1, None, 0], f"{kind}[pyarrow]") for kind in ("int32", "double")},
    "string[pyarrow]": pd.array(["a", None, "b"], "string[pyarrow]"),
}  # fmt: skip


@pytest.mark.parametrize("old", COLUMNS)
def test_columns_of_all_types(old):
    for new in COLUMNS:
        pair = [pd.DataFrame({"a": pd.Series(COLUMNS[name])}) for name in (old, new)]
        found = change_between(*pair)
        assert found.total == 3
        if old == new:
            assert (found.different, found.notes) == (0, ())
        if "whole" not in old and "whole" in new:
            assert found.different >= 1  # of what is missing in one of them
        if not old.startswith("lists") and not new.startswith("lists"):
            assert change_between(*(one.set_index("a") for one in pair)).different == 0


def test_arrays_of_fields_beside_others():
    records = np.array([(1, 2.0), (3, 4.0)], [("a", "i4"), ("b", "f8")])
    others = [
        np.array([(1, 2.0), (3, 5.0)], [("x", "i4"), ("y", "f8")]),
        np.array([(1,), (3,)], [("a", "i4")]),
        np.arange(2),
        np.array(["a", "b"]),
        np.array([b"a", b"b"]),
        np.array(["2026-01-01"] * 2, "M8[D]"),
    ]
    for other in others:
        for pair in ((records, other), (other, records)):
            found = change_between(*pair)
            assert (found.total, found.different) == (2, 2) and found.notes
    changed = records.copy()
    changed["b"][1] = 9
    assert change_between(records, changed).different == 1
    assert change_between(records, records).different == 0


def test_a_table_with_missing_values_stops_no_command(runs, capsys):
    from cpr.cli.app import run

    for time, values in ((OLD, [1, None, 3]), (NEW, [1, None, 4])):
        runs.make(time, "measure", "table.csv", pd.DataFrame({"a": pd.array(values, "Int64")}))
    assert run(["diff", runs.url, OLD, NEW, "--json"]) == 1
    change = json.loads(capsys.readouterr().out)["changed"][0]["change"]
    assert (change["different"], change["largest"]) == (1, 1)


def test_json_of_what_has_no_number(runs, capsys):
    from cpr.cli.app import run

    runs.make(OLD, "segment", "mask.tif", np.array([[0, np.inf]], np.float32))
    runs.make(NEW, "segment", "mask.tif", np.array([[0, 1]], np.float32))
    assert run(["diff", runs.url, OLD, NEW, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["changed"][0]["change"]["largest"] == "inf"


def test_the_command(runs, tmp_path, capsys):
    from cpr.cli.app import run

    runs.make(OLD, "segment", "mask.tif", IMAGE)
    runs.make(NEW, "segment", "mask.tif", IMAGE + 2, sigma=3)
    assert run(["diff", runs.url, OLD, NEW, "-o", f"{tmp_path}/pictures"]) == 1
    text = capsys.readouterr().out
    assert "mask.tif, by segment" in text
    assert "because  sigma: 2 -> 3" in text
    assert "64 of 64 pixels differ, by 2 at most" in text
    assert "1 result changed, 0 in one run only, 0 the same." in text
    (picture,) = (tmp_path / "pictures").iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in text
    assert run(["diff", runs.url, OLD, NEW, "--json"]) == 1
    (changed,) = json.loads(capsys.readouterr().out)["changed"]
    assert changed["change"]["largest"] == 2
    assert changed["words"] == ["sigma: 2 -> 3"]
    assert run(["diff", runs.url, OLD, OLD]) == 0
    assert run(["diff", runs.url, OLD, "ffff"]) == 3
    assert run(["diff", runs.url]) == 2
