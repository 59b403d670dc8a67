"""Frames for tests: a fixed list of every trouble known, and a strategy for those that are not."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

STRINGS = [
    "",
    " ",
    "  x",
    "x ",
    "\t",
    "NA",
    "nan",
    "None",
    "null",
    "-",
    "007",
    "1e5",
    "True",
    "inf",
    "2026-01-01",
    "#N/A",
    'a "quoted" word',
    '"',
    '""',
    '","',
    "a,b",
    "a;b",
    "line\nbreak",
    "\n",
    "\r",
    "\r\n",
    "a\rb",
    "\0",
    "a\0b",
    "␛",
    "␛e",
    "␛0",
    "␛␛",
    "\ufeff",
    "ä",
    "日本",
    "🔬",
    "\u2028",
    "=1+1",
    "'",
    "\\",
    "\\N",
    "#c",
    "x" * 3000,
]
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "UTC+05:30", "UTC-11:00"]
UNITS = ["s", "ms", "us", "ns"]
_ONE, _OTHER = pd.Timestamp("1969-12-31 23:59:59"), pd.Timestamp("2026-01-02 03:04:05")
# What pandas keeps in Arrow's memory.
ARROW = {
    pa.int8(): [-128, None, 127],
    pa.int64(): [2**53 + 1, None, -(2**63)],
    pa.uint8(): [0, None, 255],
    pa.uint64(): [2**64 - 1, None, 0],
    pa.bool_(): [True, None, False],
    pa.float32(): [0.5, None, 3.0],
    pa.float64(): [0.1, None, 1e300],
    pa.string(): ["", None, "NA"],
    pa.large_string(): ["a", None, "ü"],
    pa.timestamp("s"): [_ONE, None, _OTHER],
    pa.timestamp("ns"): [_ONE, None, _OTHER],
    pa.timestamp("us", "UTC"): [_ONE.tz_localize("UTC"), None, _OTHER.tz_localize("UTC")],
    pa.timestamp("ms", "Europe/Berlin"): [_ONE.tz_localize("UTC"), None, _OTHER.tz_localize("UTC")],
    pa.duration("us"): [pd.Timedelta("1 day"), None, pd.Timedelta("-3 us")],
    pa.duration("ns"): [pd.Timedelta("1 day"), None, pd.Timedelta("3 ns")],
}
INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def _every_dtype() -> pd.DataFrame:
    columns = {}
    for name in INTS:
        info = np.iinfo(name)
        columns[name] = np.array([info.min, 0, info.max], name)
        nullable = name.replace("u", "U").replace("i", "I") if name[0] == "i" else "UI" + name[2:]
        columns[nullable] = pd.array([info.min, None, info.max], nullable)
    for name in ("float16", "float32", "float64"):
        info = np.finfo(name)
        columns[name] = np.array([info.min, np.nan, info.smallest_subnormal], name)
        columns[f"{name}-odd"] = np.array([np.inf, -np.inf, -0.0], name)
    columns["Float32"] = pd.array([0.1, None, -np.inf], "Float32")
    columns["Float64"] = pd.array([0.1 + 0.2, None, np.nextafter(1, 2)], "Float64")
    columns["bool"] = [True, False, True]
    columns["boolean"] = pd.array([True, None, False], "boolean")
    for unit in UNITS:
        times = np.array(["1969-12-31T23:59:59", "NaT", "2261-01-01T01:02:03"], f"M8[{unit}]")
        times[2] += np.timedelta64(7, unit)
        columns[f"time-{unit}"] = times
        columns[f"zone-{unit}"] = pd.Series(times).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
        columns[f"delta-{unit}"] = np.array([-1, "NaT", 93784000001], f"m8[{unit}]")
    for name in ("str", "string", "string[python]", "string[pyarrow]"):
        columns[name] = pd.Series(["", None, "NA"], dtype=name)
    for kind, values in ARROW.items():
        columns[f"arrow-{kind}"] = pd.array(values, dtype=pd.ArrowDtype(kind))
    columns["object-None"] = pd.Series(["", None, "x"], dtype=object)
    columns["object-nan"] = pd.Series(["", np.nan, "x"], dtype=object)
    columns["object-NA"] = pd.Series(["", pd.NA, "x"], dtype=object)
    columns["object-full"] = pd.Series(["", "y", "x"], dtype=object)
    columns["object-void"] = pd.Series([None] * 3, dtype=object)
    columns["category"] = pd.Categorical(["b", None, ""], ["b", "a", "", "unused"])
    columns["ordered"] = pd.Categorical(["b", None, "a"], ["b", "a"], ordered=True)
    columns["category-int"] = pd.Categorical([10, None, -1], [10, 2, -1])
    columns["category-float"] = pd.Categorical([0.1, None, 2.0])
    columns["category-bool"] = pd.Categorical([True, None, False])
    columns["category-time"] = pd.Categorical(pd.to_datetime(["2026-01-01", None, "2025-01-01"]))
    columns["category-zone"] = pd.Categorical(pd.date_range("2026-01-01", periods=3, tz="Asia/Tokyo"))
    columns["category-delta"] = pd.Categorical(pd.to_timedelta([1, None, -1], "us"))
    columns["category-object"] = pd.Categorical(["x", None, "y"], pd.Index(["y", "x"], dtype=object))
    columns["category-Int64"] = pd.Categorical(pd.array([1, None, 2], "Int64"))
    columns["category-none"] = pd.Categorical([None] * 3, [])
    return pd.DataFrame(columns)


EVERY_DTYPE = _every_dtype()
_PLAIN = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, ""], "c": [0.1, np.nan, 3]})
_TIMES = pd.date_range("2026-01-01", periods=3, freq="h", tz="Europe/Berlin")

FRAMES = {
    "every dtype": EVERY_DTYPE,
    "every dtype, no rows": EVERY_DTYPE.iloc[:0],
    "strings": pd.DataFrame({"s": STRINGS, "n": range(len(STRINGS))}),
    "one column of strings": pd.DataFrame({"s": STRINGS}),
    "one column of strings, some missing": pd.DataFrame({"s": ["", None, " ", "\t", "␛e", None]}),
    "one column of objects": pd.DataFrame({"s": ["", None, "x"]}, dtype=object),
    "one column of numbers": pd.DataFrame({"x": [1.5, np.nan, np.nan]}),
    "one category": pd.DataFrame({"x": pd.Categorical(["", None, "a"])}),
    "strings as names": pd.DataFrame([range(len(STRINGS))], columns=STRINGS),
    "range from 5 by 2": _PLAIN.set_axis(pd.RangeIndex(5, 11, 2)),
    "range backwards": _PLAIN[::-1],
    "range with a name": _PLAIN.rename_axis("row"),
    "integers": _PLAIN.set_axis([3, 1, 2]),
    "integers like the default": _PLAIN.set_axis(pd.Index([0, 1, 2], dtype="int64")),
    "small integers": _PLAIN.set_axis(pd.Index([0, 1, 2], dtype="uint8")),
    "index of strings": _PLAIN.set_index("b"),
    "index of objects": _PLAIN.set_axis(pd.Index(["x", None, "y"], dtype=object)),
    "index of floats": _PLAIN.set_index("c"),
    "index of times": _PLAIN.set_axis(_TIMES),
    "index of categories": _PLAIN.set_axis(pd.CategoricalIndex(["x", None, "y"], name="kind")),
    "index of Arrow's integers": _PLAIN.set_axis(pd.Index([1, None, 3], dtype="int64[pyarrow]")),
    "Arrow's columns": pd.DataFrame(
        {str(name): pd.array(values, dtype=pd.ArrowDtype(name)) for name, values in ARROW.items()}
    ),
    "index of nullable integers": _PLAIN.set_axis(pd.Index([1, None, 3], dtype="Int64")),
    "index, unnamed": _PLAIN.set_axis(["x", "y", "z"]),
    "index with a number for a name": _PLAIN.set_index("a").rename_axis(3),
    "levels with their own numbers for names": _PLAIN.set_index(["a", "b"]).rename_axis([1, 0]),
    "a byte order mark first": pd.DataFrame({"\ufeffa": ["\ufeffx", "\ufeff"], "n": 1}),
    "index that repeats": _PLAIN.set_axis([1, 1, 1]),
    "index named as a column": _PLAIN.set_axis(pd.Index([5, 6, 7], name="a")),
    "levels": _PLAIN.set_index(["a", "b"]),
    "levels without names": _PLAIN.set_axis(pd.MultiIndex.from_product([[1], ["x", "y", "z"]])),
    "levels of many dtypes": EVERY_DTYPE.set_index(
        ["ordered", "time-s", "Int8", "zone-ns", "bool", "object-None"]
    ),
    "one level": _PLAIN.set_axis(pd.MultiIndex.from_arrays([[1, 2, 3]], names=["n"])),
    "labels of integers": pd.DataFrame(np.eye(3)),
    "labels out of order": pd.DataFrame(np.eye(3), columns=[2, 0, 1]),
    "labels of floats": pd.DataFrame(np.eye(2), columns=[0.5, 1.0]),
    "labels of times": pd.DataFrame(np.eye(3), columns=_TIMES),
    "labels of categories": pd.DataFrame(
        np.eye(2), columns=pd.CategoricalIndex(["b", "a"], ["b", "a", "c"], ordered=True)
    ),
    "labels of many kinds": pd.DataFrame([[1, 2, 3, 4]], columns=pd.Index(["a", 1, 2.5, None], dtype=object)),
    "labels that repeat": pd.DataFrame([[1, "x", 2.5]], columns=["a", "a", "a"]),
    "labels with a name": _PLAIN.rename_axis(columns="what"),
    "labels in levels": pd.DataFrame(
        np.eye(3), columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["x", None])
    ),
    "label empty": pd.DataFrame({"": [1, 2]}),
    "nothing": pd.DataFrame(),
    "no columns": _PLAIN[[]],
    "no columns, an index": _PLAIN.set_index("b")[[]],
    "no columns, levels of labels": pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []])),
    "no rows": _PLAIN.iloc[:0],
    "no rows, levels": _PLAIN.iloc[:0].set_index(["a", "b"]),
    "big-endian": pd.DataFrame({"a": np.arange(3, dtype=">i4"), "b": np.arange(3, dtype=">f8")}),
    "not contiguous": pd.DataFrame(np.arange(24).reshape(4, 6)[::2, ::3], columns=["a", "b"]),
    "fixed offset": pd.DataFrame({"t": _TIMES.tz_convert(dt.timezone(dt.timedelta(hours=-3, minutes=-30)))}),
    "far away times": pd.DataFrame({"t": np.array(["-0044-03-15", "12026-01-01", "NaT"], "M8[ms]"), "n": 1}),
    "narrow floats": pd.DataFrame(
        {"x": np.array([0.1, 1 / 3, 16777216, 3.4e38, 1e-45, 8.589973e9], "f4"), "n": 1}
    ),
}


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two frames are equal in all that assert_frame_equal looks at, and in the last bit."""
    if any(isinstance(d, np.dtype) and not d.isnative for d in b.dtypes):
        b = b.astype({c: d.newbyteorder("=") for c, d in b.dtypes.items()})
    try:
        pd.testing.assert_frame_equal(a, b, check_exact=True, check_freq=False, check_column_type="equiv")
    except AssertionError:
        return False
    for i, dtype in enumerate(a.dtypes):
        left, right = a.iloc[:, i], b.iloc[:, i]
        if dtype in ("f2", "f4", "f8") and (np.signbit(left) != np.signbit(right))[left.notna()].any():
            return False
        if str(dtype) == "object" and [type(x) for x in left] != [type(x) for x in right]:
            return False
        if isinstance(dtype, pd.CategoricalDtype) and list(dtype.categories) != list(
            b.dtypes.iloc[i].categories
        ):
            return False
    return True


TEXTS = st.one_of(
    st.sampled_from(STRINGS),
    st.text(st.sampled_from("a\",\n\r\t \0␛e0;'|"), max_size=6),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
COUNTS = {
    "s": st.integers(-(10**11), 10**11),
    **dict.fromkeys(["ms", "us", "ns"], st.integers(-(2**62), 2**62)),
}


def _ints(name: str) -> st.SearchStrategy[int]:
    info = np.iinfo(name.lower())
    return st.one_of(
        st.integers(int(info.min), int(info.max)), st.sampled_from([int(info.min), int(info.max)])
    )


def _floats(name: str) -> st.SearchStrategy[float]:
    return st.floats(width={"2": 32, "4": 64, "6": 16}[name[-1]])


@st.composite
def _arrays(draw, rows: int, hashable: bool = False):
    """An array of any dtype that a table holds; `hashable` for labels."""
    kind = draw(
        st.sampled_from(
            ["int", "Int", "float", "Float", "bool", "boolean", "time", "delta", "text", "category"]
        )
    )

    def some(items, gone=None):
        with_gone = items if gone is ... else st.one_of(items, st.just(gone))
        return draw(st.lists(with_gone, min_size=rows, max_size=rows))

    if kind == "int":
        name = draw(st.sampled_from(INTS))
        return np.array(some(_ints(name), ...), name)
    if kind == "Int":
        name = draw(st.sampled_from(["Int8", "Int32", "Int64", "UInt16", "UInt64"]))
        return pd.array(some(_ints(name)), name)
    if kind in {"float", "Float"}:
        name = draw(
            st.sampled_from(
                ["float32", "float64"] if hashable or kind == "Float" else ["float16", "float32", "float64"]
            )
        )
        if kind == "float":
            return np.array(some(_floats(name), ...), name)
        return pd.array(some(_floats(name).filter(np.isfinite)), name.capitalize())
    if kind == "bool":
        return np.array(some(st.booleans(), ...), bool)
    if kind == "boolean":
        return pd.array(some(st.booleans()), "boolean")
    unit = draw(st.sampled_from(UNITS))
    if kind in {"time", "delta"}:
        counts = np.array(some(st.one_of(COUNTS[unit], st.just(np.iinfo("i8").min)), ...), "i8")
        if kind == "delta":
            return counts.view(f"m8[{unit}]")
        zone = draw(st.sampled_from([None, *ZONES]))
        times = pd.Series(counts.view(f"M8[{unit}]"))
        return (
            times.array
            if zone is None
            else times.dt.tz_localize("UTC").dt.tz_convert(pd.DatetimeTZDtype(unit, zone).tz).array
        )
    if kind == "text":
        name = draw(st.sampled_from(["str", "string", "string[python]", "object"]))
        if name == "object":
            items = np.empty(rows, object)
            items[:] = some(TEXTS, draw(st.sampled_from([None, np.nan, pd.NA])))
            return pd.Series(items, dtype=object).array
        return pd.array(some(TEXTS), dtype=name)
    categories = draw(
        st.one_of(st.lists(TEXTS, unique=True, max_size=4), st.lists(_ints("int64"), unique=True, max_size=4))
    )
    codes = draw(st.lists(st.integers(-1, len(categories) - 1), min_size=rows, max_size=rows))
    return pd.Categorical.from_codes(
        codes, pd.Index(categories, dtype=None if categories else object), ordered=draw(st.booleans())
    )


NAMES = st.one_of(st.none(), TEXTS, st.integers(-5, 5))


@st.composite
def _indexes(draw, rows: int):
    kind = draw(st.sampled_from(["default", "range", "flat", "levels"]))
    if kind == "default":
        return pd.RangeIndex(rows)
    if kind == "range":
        start, step = draw(st.integers(-9, 9)), draw(st.integers(-3, 3).filter(bool))
        return pd.RangeIndex(start, start + step * rows, step, name=draw(NAMES))
    levels = [
        pd.Index(draw(_arrays(rows, hashable=True)))
        for _ in range(1 if kind == "flat" else draw(st.integers(1, 3)))
    ]
    names = [draw(NAMES) for _ in levels]
    return levels[0].rename(names[0]) if kind == "flat" else pd.MultiIndex.from_arrays(levels, names=names)


@st.composite
def frames(draw) -> pd.DataFrame:
    """Frames as hostile as can be, of everything that a table holds."""
    rows, width = draw(st.integers(0, 6)), draw(st.integers(0, 4))
    columns = {i: pd.Series(draw(_arrays(rows))) for i in range(width)}
    frame = pd.DataFrame(columns, index=pd.RangeIndex(rows))
    frame.index = draw(_indexes(rows))
    labels = st.one_of(
        st.lists(TEXTS, min_size=width, max_size=width),
        st.lists(st.integers(-3, 3), min_size=width, max_size=width),
    )
    frame.columns = pd.Index(draw(labels), name=draw(NAMES))
    return frame
