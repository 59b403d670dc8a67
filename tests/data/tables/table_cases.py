"""What both formats of tables promise, as a class to inherit."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cpr
from cpr import io
from cpr.errors import CorruptDataError, DecodeError, EncodeError, FormatError, RecordError
from cpr.testing import FormatTests, SeekableBytes
from tests.data.tables.frames import EVERY_DTYPE, FRAMES, frames, same

LONE = "\ud800"

REFUSED = {
    "lists": pd.DataFrame({"ok": [1], "bad": [[1, 2]]}),
    "dicts": pd.DataFrame({"ok": [1], "bad": [{}]}),
    "mixed": pd.DataFrame({"ok": [1, 2], "bad": pd.Series(["x", 1], dtype=object)}),
    "integers as objects": pd.DataFrame({"bad": pd.Series([1, None], dtype=object)}),
    "booleans as objects": pd.DataFrame({"bad": pd.Series([True, None], dtype=object)}),
    "dates": pd.DataFrame({"bad": [pd.Timestamp("2026-01-01").date()]}),
    "bytes": pd.DataFrame({"bad": [b"x"]}),
    "two sorts of missing": pd.DataFrame({"bad": pd.Series(["x", None, np.nan], dtype=object)}),
    "NaT among strings": pd.DataFrame({"bad": pd.Series(["x", pd.NaT], dtype=object)}),
    "complex": pd.DataFrame({"bad": [1j]}),
    "longdouble": pd.DataFrame({"bad": np.zeros(1, np.longdouble)}),
    "period": pd.DataFrame({"bad": pd.period_range("2026", periods=2, freq="D")}),
    "interval": pd.DataFrame({"bad": pd.interval_range(0, 2)}),
    "sparse": pd.DataFrame({"bad": pd.arrays.SparseArray([0, 1])}),
    "lists of Arrow's": pd.DataFrame({"bad": pd.Series([[1]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))}),
    "dates of Arrow's": pd.DataFrame({"bad": pd.Series([None], dtype=pd.ArrowDtype(pa.date32()))}),
    "category of Arrow's": pd.DataFrame({"bad": pd.Categorical(pd.array([1], dtype="int64[pyarrow]"))}),
    "category of intervals": pd.DataFrame({"bad": pd.cut([1, 2], 2)}),
    "category of mixed": pd.DataFrame({"bad": pd.Categorical([1, "x"])}),
    "category of NaN-like infinities": pd.DataFrame({"bad": pd.Categorical([np.inf])}),
    "too many categories": pd.DataFrame({"bad": pd.Categorical([f"label number {i}" for i in range(9999)])}),
    "half a surrogate": pd.DataFrame({"bad": pd.array(["x", LONE], "string[python]")}),
    "half a surrogate, object": pd.DataFrame({"bad": ["x", LONE]}, dtype=object),
    "index": pd.DataFrame({"ok": [1]}, index=pd.Index([(1,)], tupleize_cols=False, name="bad")),
    "level": pd.DataFrame({"ok": [1]}, index=pd.MultiIndex.from_arrays([[1], [b"x"]], names=["ok", "bad"])),
    "label of tuple": pd.DataFrame([[1]], columns=pd.Index([("bad",)], tupleize_cols=False)),
    "label of object": pd.DataFrame([[1]], columns=[b"bad"]),
    "label with half a surrogate": pd.DataFrame([[1]], columns=pd.Index([f"bad{LONE}"], dtype=object)),
    "label not finite": pd.DataFrame([[1]], columns=pd.Index([np.inf], name="bad")),
    "name of tuple": pd.DataFrame({"ok": [1]}, index=pd.Index([1], name=("bad",))),
}

HOSTILE = [
    None,
    0,
    -1,
    1.5,
    True,
    "",
    "x",
    [],
    [[]],
    {},
    10**30,
    ["a", "b"],
    {"name": None, "range": [0, 0]},
    *[
        "object",
        "float16",
        "category",
        "complex128",
        "V8",
        "period[D]",
        "int64[pyarrow]",
        "arrow[list<int64>]",
        "arrow[timestamp[us, tz=x]]",
        "arrow[timestamp[ns]]",
    ],
    *["datetime64[ns, tzlocal()]", "datetime64[us, dateutil//etc/passwd]", "datetime64[us, ../../etc]"],
]


class TableCases:
    """Inherit and name the target class and the extension."""

    target_class: type[cpr.Target]
    ext: str

    def target(self, **options):
        return self.target_class.from_path(f"memory://tables/{uuid.uuid4().hex}/a{self.ext}", **options)

    def stored(self, data) -> cpr.Target:
        target = self.target()
        target.set_data(data)
        return cpr.load(json.dumps(target.serialize()))

    def bytes_of(self, target) -> bytes:
        with io.reading(target.url) as file:
            return file.read()

    @pytest.mark.parametrize("name", FRAMES)
    def test_comes_back(self, name):
        frame = FRAMES[name]
        target = self.stored(frame)
        found = target.get_data()
        assert same(found, frame)
        assert target.format.fingerprint(found) == target.data_hash

    @pytest.mark.parametrize("deep", [False, True], ids=["labels", "levels"])
    def test_labels_of_every_dtype_come_back(self, deep):
        """With something missing among them, too; those that a record cannot hold are refused."""
        refused = set()
        # Of half floats pandas has no index.
        for name in (one for one in EVERY_DTYPE if not one.startswith("float16")):
            labels = pd.Index(EVERY_DTYPE[name])
            if deep:
                labels = pd.MultiIndex.from_arrays([labels, ["p", "q", "r"]])
            frame = pd.DataFrame(np.arange(6).reshape(2, 3), columns=labels)
            try:
                target = self.stored(frame)
            except EncodeError:
                refused.add(name)
                continue
            found = target.get_data()
            assert same(found, frame), name
            assert target.format.fingerprint(found) == target.data_hash, name
        # Labels are JSON in a record, which has no NaN and infinity; pandas' levels of objects have no None.
        assert {name.partition("-")[0] for name in refused} == {"float32", "float64", "Float32", "object"}

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_any_frame_comes_back(self, data):
        frame = data.draw(frames())
        target = self.stored(frame)
        found = target.get_data()
        assert same(found, frame)
        assert target.format.fingerprint(found) == target.data_hash

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_any_chunks_are_the_whole(self, data):
        frame = data.draw(frames())
        cuts = sorted(data.draw(st.lists(st.integers(0, len(frame)), max_size=3)))
        pieces = [frame.iloc[a:b] for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True)]
        streamed = self.stored(iter(pieces))
        held = self.stored(frame)
        assert streamed.data_hash == held.data_hash
        assert streamed.format == held.format
        assert same(streamed.get_data(), frame)

    @pytest.mark.parametrize("name", REFUSED)
    def test_what_it_cannot_hold_is_refused(self, name):
        for data in (REFUSED[name], iter([REFUSED[name]])):
            target = self.target()
            with pytest.raises(EncodeError) as caught:
                target.set_data(data)
            assert "bad" in caught.value.field
            assert caught.value.remedy
            assert caught.value.actual is not None
            assert io.find(f"{target.location}/**") == {}

    @pytest.mark.parametrize(
        ("data", "match"),
        [
            (pd.Series([1]), "to_frame"),
            ({"a": [1]}, "pandas.DataFrame"),
            (np.zeros((2, 2)), "pandas.DataFrame"),
            ("text", "read the file first"),
            (None, "give the data itself"),
            (7, "pandas.DataFrame"),
            ([1, 2], "chunk 0 is no DataFrame"),
            ([pd.DataFrame({"a": [1]}), None], "chunk 1 is no DataFrame"),
            ([], "without a single chunk"),
        ],
        ids=str,
    )
    def test_what_is_no_table_is_refused(self, data, match):
        target = self.target()
        with pytest.raises(EncodeError, match=match):
            target.set_data(data)
        assert io.find(f"{target.location}/**") == {}

    @pytest.mark.parametrize(
        ("second", "field"),
        [
            (pd.DataFrame({"a": [1], "c": ["x"]}), "columns"),
            (pd.DataFrame({"b": ["x"], "a": [1]}), "columns"),
            (pd.DataFrame({"a": [1]}), "columns"),
            (pd.DataFrame({"a": [1.5], "b": ["x"]}), "a"),
            (pd.DataFrame({"a": [1], "b": pd.Series(["x"], dtype=object)}), "b"),
            (pd.DataFrame({"a": [1], "b": ["x"]}, index=[7]), "index"),
            (pd.DataFrame({"a": [1], "b": ["x"]}, index=["i"]), "index"),
            (pd.DataFrame({"a": [1], "b": ["x"]}, index=pd.RangeIndex(5, 6)), "index"),
            (pd.DataFrame({"a": [1], "b": ["x"]}, index=pd.RangeIndex(1, name="n")), "index"),
            (pd.DataFrame({"a": [1], "b": ["x"]}, index=pd.MultiIndex.from_arrays([[1]])), "index"),
        ],
    )
    def test_a_chunk_that_differs_is_refused(self, second, field):
        target = self.target()
        with pytest.raises(EncodeError, match="chunk 1") as caught:
            target.set_data([pd.DataFrame({"a": [1], "b": ["x"]}), second])
        assert caught.value.field == field
        assert caught.value.remedy
        assert io.find(f"{target.location}/**") == {}

    @pytest.mark.parametrize("categories", [["b", "a"], ["a", "b", "c"], ["a"]])
    def test_other_categories_in_a_chunk_are_refused(self, categories):
        chunks = [
            pd.DataFrame({"k": pd.Categorical(["a"], ["a", "b"])}),
            pd.DataFrame({"k": pd.Categorical(["a"], categories)}),
        ]
        with pytest.raises(EncodeError, match="chunk 1 has another dtype") as caught:
            self.target().set_data(chunks)
        assert caught.value.field == "k"

    def test_another_sort_of_missing_in_a_chunk_is_refused(self):
        chunks = [pd.DataFrame({"k": pd.Series(["x", gone], dtype=object)}) for gone in (None, np.nan)]
        with pytest.raises(EncodeError, match=r"several sorts of missing.*chunk 1") as caught:
            self.target().set_data(chunks)
        assert caught.value.field == "k"

    def test_chunks_with_the_default_index_are_numbered_on(self):
        chunk = pd.DataFrame({"a": [1.5, 2.5]})
        found = self.stored([chunk, chunk.iloc[:0], chunk]).get_data()
        assert same(found, pd.concat([chunk, chunk], ignore_index=True))

    def test_a_range_that_breaks_off_becomes_integers(self):
        chunks = [pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(s, s + 2)) for s in (5, 9)]
        assert same(self.stored(chunks).get_data(), pd.concat(chunks))

    def test_dask_frames_stream_by_partition(self):
        dask = pytest.importorskip("dask.dataframe")
        frame = pd.DataFrame({"a": range(100), "b": np.arange(100) / 3})
        target = self.stored(dask.from_pandas(frame, npartitions=7))
        assert same(target.get_data(), frame)

    def test_a_raising_iterator_leaves_nothing(self):
        def chunks():
            yield FRAMES["strings"]
            raise OSError("the instrument went away")

        target = self.target()
        with pytest.raises(OSError, match="went away"):
            target.set_data(chunks())
        assert io.find(f"{target.location}/**") == {}

    def test_the_content_is_labels_dtypes_index_and_values(self):
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
        others = [
            frame.rename(columns={"a": "c"}),
            frame.astype({"a": "int32"}),
            frame.astype({"a": "Int64"}),
            frame.astype({"b": "category"}),
            frame.astype({"b": object}),
            frame.set_axis([1, 0]),
            frame.rename_axis("row"),
            frame.rename_axis(columns="what"),
            frame.assign(b=["x", ""]),
            frame.assign(b=["", "x"]),
            frame[["b", "a"]],
            frame.iloc[:1],
            frame[::-1],
            frame.set_index("a"),
            pd.DataFrame({"a": [1, 2], "b": ["x", "None"]}),
        ]
        hashes = []
        for data in (frame, *others):
            target = self.target()
            target.set_data(data)
            assert len(target.data_hash) == 16
            hashes.append(target.data_hash)
        assert len(set(hashes)) == len(hashes)

    def test_layout_in_memory_makes_no_difference(self):
        wide = pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=list("abcd"))
        parts = pd.DataFrame({c: wide[c].to_numpy().copy() for c in "abcd"})
        assert self.stored(wide).data_hash == self.stored(parts).data_hash
        assert self.stored(wide).url.rsplit("/", 1)[1] == self.stored(parts).url.rsplit("/", 1)[1]

    def test_the_record_is_small(self):
        frame = pd.DataFrame({f"feature {i}": [1.5] for i in range(10)})
        record = json.dumps(self.target_with(frame).serialize())
        assert len(record) < 1000
        many = pd.concat([frame] * 10_000, ignore_index=True)
        assert len(json.dumps(self.target_with(many).serialize())) < 1000

    def target_with(self, data):
        target = self.target()
        target.set_data(data)
        return target

    @functools.cache  # noqa: B019 - one for each class of tests
    def record_of_every_dtype(self) -> str:
        return json.dumps(self.stored(EVERY_DTYPE.set_index(["time-s", "Int8"])).serialize())

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_a_hostile_record_is_refused_or_harmless(self, data):
        record = json.loads(self.record_of_every_dtype())
        table = record["__cpr__"]["table"]

        def places(value):
            for key in value if isinstance(value, dict) else range(len(value)):
                yield value, key
                if isinstance(value[key], (dict, list)):
                    yield from places(value[key])

        for _ in range(data.draw(st.integers(1, 3))):
            value, key = data.draw(st.sampled_from(list(places(table))))
            # A copy: the next change may go into it.
            value[key] = copy.deepcopy(data.draw(st.sampled_from(HOSTILE)))
        try:
            again = cpr.load(record)
            again.get_data()
        except (RecordError, DecodeError, CorruptDataError):
            pass

    def test_no_index_is_of_half_floats(self):
        frame = pd.DataFrame({"a": pd.Categorical([1.5])}, index=pd.Index([1.5], name="b"))
        record = self.stored(frame).serialize()
        text = json.dumps(record)
        assert text.count('"float64"') == 2
        first, middle, last = text.split('"float64"')
        told = '"float16"', '"float64"'
        for one, other in (told, told[::-1]):
            with pytest.raises(RecordError):
                cpr.load(json.loads(first + one + middle + other + last)).get_data()

    def test_a_changed_frame_is_caught(self):
        for change in (
            lambda f: f.insert(0, "new", 1),
            lambda f: f.__setitem__("a", f["a"] * 2),
            lambda f: setattr(f, "columns", ["x", "b"]),
            lambda f: setattr(f, "index", [5, 6]),
        ):
            frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
            target = self.target_with(frame)
            change(frame)
            with pytest.raises(CorruptDataError, match="changed between"):
                target.persist()
            assert io.find(f"{target.location}/**") == {}

    def test_parts_are_not_for_tables(self):
        target = self.target_with(FRAMES["strings"])
        with pytest.raises(FormatError, match="in parts"):
            target.get_data(region=slice(0, 1))
        with pytest.raises(FormatError, match="in parts"):
            cpr.load(target.serialize()).get_data(region=slice(0, 1))

    def test_pickles_hold_no_data(self):
        target = self.target_with(pd.DataFrame({"a": range(100_000)}))
        assert len(pickle.dumps(target)) < 1500

    def test_random_damage_never_gives_other_data(self):
        target = self.stored(FRAMES["every dtype"])
        good = self.bytes_of(target)
        random = np.random.default_rng(0)
        for position in random.integers(0, len(good), 150):
            flipped = bytearray(good)
            flipped[position] ^= 1 << random.integers(0, 8)
            for bad in (bytes(flipped), good[:position]):
                with io.writing(target.url) as file:
                    file.write(bad)
                try:
                    found = target.get_data()
                except CorruptDataError:
                    continue
                assert same(found, FRAMES["every dtype"])

    @pytest.mark.parametrize(
        "bad",
        [b"", b"\0" * 1000, np.random.default_rng(0).bytes(5000), b"PAR1" * 9, b"a\n" * 100, b'"' * 100],
        ids=range(6),
    )
    def test_what_is_no_such_file_is_refused(self, bad):
        with pytest.raises(DecodeError) as caught:
            self.stored(FRAMES["strings"]).format.decode(SeekableBytes(bad))
        assert caught.value.remedy


class Laws(FormatTests):
    """The laws of all formats, with frames."""

    samples = [
        FRAMES[name]
        for name in (
            "every dtype",
            "strings",
            "levels",
            "labels in levels",
            "one column of strings",
            "nothing",
            "no rows",
        )
    ]
    refused = [REFUSED["lists"], REFUSED["complex"]]

    def equal(self, a, b) -> bool:
        return same(a, b)
