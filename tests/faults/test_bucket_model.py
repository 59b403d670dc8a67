"""A bucket as a state machine: whatever is done to it, in whatever order, a dictionary tells what holds.

The dictionary knows, for every record that was handed out, the data it stands for, and for every object
what has been done to it since. What is read has to be that data, or a typed error where there is a reason.
"""

from __future__ import annotations

import importlib
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

import cpr
from cpr import io
from cpr.errors import CorruptDataError, ResourceNotFoundError
from cpr.io.block_digests import blocks_url
from cpr.io.objects import open_store
from tests.text_format import TextTarget

STEPS = 30
writing_module = importlib.import_module("cpr.io.publishing")  # io.writing is its function


class Killed(BaseException):
    """What ends a process, as far as one inside it can tell."""


def array(seed: int, large: bool) -> np.ndarray:
    """A small array, or one with digests of its blocks beside it; a few different ones of each."""
    shape = (5, 256, 512) if large else (3, 8, 16)
    return np.random.default_rng(seed).integers(0, 1 << 16, shape, np.uint16)


ARRAYS = {(seed, large): array(seed, large) for seed in range(3) for large in (False, True)}
FORMATS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "npy": (cpr.NumpyTarget, ".npy", {}),
    "tiff": (cpr.ImageTarget, ".tif", {"compression": "zstd"}),
    "text": (TextTarget, ".txt", {"encoding": "utf-16"}),
}
NAMES = ("a", "b")


class Results(RuleBasedStateMachine):
    """Targets in one folder; `base` is set by a subclass."""

    records = Bundle("records")

    @initialize()
    def begin(self) -> None:
        self.base = self.make_base()
        #: What a record stands for, by URL.
        self.data: dict[str, Any] = {}
        #: The bytes of what cpr wrote, and of what is there now, by URL; no entry: nothing.
        self.written: dict[str, bytes] = {}
        self.there: dict[str, bytes] = {}
        #: Other bytes that mean the same.
        self.equivalent: dict[str, bytes] = {}

    def make_base(self) -> str:
        raise NotImplementedError

    # ---- help

    def target(self, format: str, name: str, seed: int, large: bool) -> tuple[Any, Any]:
        cls, ext, options = FORMATS[format]
        target = cls.from_path(f"{self.base}/{name}{ext}", **options)
        data = f"text {seed}" if format == "text" else ARRAYS[seed, large]
        target.set_data(data)
        return target, data

    def bytes_at(self, url: str) -> bytes:
        with io.reading(url) as file:
            return file.read()

    def put(self, url: str, data: bytes) -> None:
        """As another program would, whatever cpr keeps beside the object."""
        store, path = open_store(url)
        upload = store.upload(path)
        upload.write(memoryview(data))
        upload.commit()
        self.there[url] = data

    def same(self, found: Any, data: Any) -> bool:
        if isinstance(data, str):
            return bool(found == data)
        return found.dtype == data.dtype and np.array_equal(found, data)

    def intact(self, url: str) -> bool:
        there = self.there.get(url)
        return there is not None and there in (self.written[url], self.equivalent.get(url))

    # ---- what is done

    @rule(
        target=records,
        format=st.sampled_from(sorted(FORMATS)),
        name=st.sampled_from(NAMES),
        seed=st.integers(0, 2),
        large=st.booleans(),
    )
    def write(self, format: str, name: str, seed: int, large: bool) -> Any:
        """Also again, over what is there: an intact object stays, a damaged one is repaired.

        Other bytes that mean the same are intact: ours have a name of their own then.
        """
        target, data = self.target(format, name, seed, large)
        url = target.url
        version = io.lookup(url)
        there = self.there.get(url)
        record = target.serialize()
        if there is not None and there in (self.written.get(url), self.equivalent.get(url)):
            assert io.lookup(url) == version
        if target.url != url:
            assert there is not None
            assert there == self.equivalent[url]
            url = target.url
        self.data[url] = data
        self.there[url] = self.bytes_at(url)
        assert self.there[url] == self.written.setdefault(url, self.there[url])
        return record

    @rule(
        target=records,
        name=st.sampled_from(NAMES),
        seed=st.integers(0, 2),
        large=st.booleans(),
    )
    def write_a_stream(self, name: str, seed: int, large: bool) -> Any:
        data = ARRAYS[seed, large]
        target = cpr.NumpyTarget.from_path(f"{self.base}/{name}.npy")
        target.set_data(iter(data), shape=data.shape, dtype="uint16")
        assert target.url not in self.written
        self.data[target.url] = data
        self.there[target.url] = self.written[target.url] = self.bytes_at(target.url)
        return target.serialize()

    @rule(
        format=st.sampled_from(sorted(FORMATS)),
        name=st.sampled_from(NAMES),
        seed=st.integers(0, 2),
        large=st.booleans(),
        share=st.floats(0, 1),
    )
    def killed_at_a_byte(self, format: str, name: str, seed: int, large: bool, share: float) -> None:
        """What was there before stays there."""
        target, data = self.target(format, name, seed, large)
        if self.there.get(target.url) == self.written.get(target.url, b"") or target.url in self.equivalent:
            return  # nothing would be sent
        limit = int(share * (10 if format == "text" else data.nbytes // 2))
        write = writing_module.WritingFile.write

        def failing(self: Any, block: Any) -> int:
            if self.stored.nbytes + memoryview(block).nbytes > limit:
                raise Killed
            return write(self, block)

        writing_module.WritingFile.write = failing
        try:
            with pytest.raises(Killed):
                target.persist()
        finally:
            writing_module.WritingFile.write = write
        assert target.checksum is None

    @rule(
        format=st.sampled_from(sorted(FORMATS)),
        name=st.sampled_from(NAMES),
        seed=st.integers(0, 2),
        large=st.booleans(),
    )
    def killed_before_the_commit(self, format: str, name: str, seed: int, large: bool) -> None:
        target, _ = self.target(format, name, seed, large)
        if self.there.get(target.url) == self.written.get(target.url, b"") or target.url in self.equivalent:
            return
        publish = writing_module._publish

        def failing(url: str, upload: Any, stored: Any) -> None:
            if url.endswith(".blocks"):
                publish(url, upload, stored)
                return
            writing_module._abort(url, upload)
            raise Killed

        writing_module._publish = failing
        try:
            with pytest.raises(Killed):
                target.persist()
        finally:
            writing_module._publish = publish

    @rule(record=records, how=st.sampled_from(["flip", "cut", "extend", "empty"]), share=st.floats(0, 1))
    def corrupt(self, record: Any, how: str, share: float) -> None:
        url = cpr.load(record).url
        good = self.there.get(url)
        if not good:
            return
        at = min(len(good) - 1, int(share * len(good)))
        flipped = good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :]
        bad = {"flip": flipped, "cut": good[:at], "extend": good + b"\0", "empty": b""}[how]
        self.put(url, bad)

    @rule(one=records, other=records)
    def swap(self, one: Any, other: Any) -> None:
        a, b = cpr.load(one).url, cpr.load(other).url
        if a in self.there and b in self.there:
            data_a, data_b = self.there[a], self.there[b]
            self.put(a, data_b)
            self.put(b, data_a)

    @rule(record=records)
    def foreign_write_of_the_same_content(self, record: Any) -> None:
        """Another program has stored the same again, otherwise encoded."""
        target = cpr.load(record)
        data = self.data[target.url]
        twin_url = f"memory://{uuid.uuid4().hex}/twin{target.ext}"
        if isinstance(data, str):
            with io.writing(twin_url) as file:
                file.write(b"\xfe\xff" + data.encode("utf-16-be"))
        elif target.ext == ".tif":
            twin = cpr.ImageTarget.from_path(twin_url, compression="zlib")
            twin.set_data(data)
            twin_url = twin.persist().url
        else:
            with io.writing(twin_url) as file:
                np.lib.format.write_array(file, data.astype(">u2"), version=(2, 0))
        self.equivalent[target.url] = self.bytes_at(twin_url)
        self.put(target.url, self.equivalent[target.url])

    @rule(record=records)
    def delete(self, record: Any) -> None:
        url = cpr.load(record).url
        io.remove(url)
        self.there.pop(url, None)

    @rule(record=records, share=st.floats(0, 1), remove=st.booleans())
    def lose_the_digests_beside(self, record: Any, share: float, remove: bool) -> None:
        url = blocks_url(cpr.load(record).url)
        if io.lookup(url) is None:
            return
        beside = bytearray(self.bytes_at(url))
        io.remove(url)
        if beside and not remove:
            beside[min(len(beside) - 1, int(share * len(beside)))] ^= 1
            self.put(url, bytes(beside))
            del self.there[url]

    # ---- what has to hold

    @rule(record=records)
    def read(self, record: Any) -> None:
        target = cpr.load(record)
        url = target.url
        try:
            found = target.get_data()
        except ResourceNotFoundError:
            assert url not in self.there
        except CorruptDataError as error:
            assert error.url == url
            assert not self.intact(url)
        else:
            assert self.same(found, self.data[url])
            assert url in self.there

    @rule(record=records, plane=st.integers(0, 2), rows=st.tuples(st.integers(0, 8), st.integers(0, 8)))
    def read_a_region(self, record: Any, plane: int, rows: tuple[int, int]) -> None:
        target = cpr.load(record)
        if isinstance(target, TextTarget):
            return
        url, region = target.url, np.s_[plane, slice(*rows)]
        try:
            found = target.get_data(region=region)
        except ResourceNotFoundError:
            assert url not in self.there
        except CorruptDataError as error:
            assert error.url in (url, blocks_url(url))
            # Digests beside an object are of the bytes that cpr wrote, not of others that mean the same.
            assert self.there[url] != self.written[url]
        else:
            assert self.same(found, self.data[url][region])

    @rule(record=records)
    def check(self, record: Any) -> None:
        target = cpr.load(record)
        try:
            target.check(full=True)
        except ResourceNotFoundError:
            assert target.url not in self.there
        except CorruptDataError:
            assert self.there[target.url] != self.written[target.url]
        else:
            assert self.there[target.url] == self.written[target.url]

    @invariant()
    def nothing_else_is_visible(self) -> None:
        if hasattr(self, "base"):
            assert set(io.find(f"{self.base}/*")) == set(self.there)

    def teardown(self) -> None:
        if hasattr(self, "base"):
            self.all_is_repaired()

    def all_is_repaired(self) -> None:
        """At the end everything is written once more, and loads."""
        for format in FORMATS:
            for seed in range(2):
                target, data = self.target(format, "a", seed, large=False)
                record = target.serialize()
                assert self.same(cpr.load(record).get_data(), data)


def run(machine: type[Results], examples: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            settings.get_profile(settings.get_current_profile_name()),
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def machine_in(place: str) -> type[Results]:
    class InPlace(Results):
        def make_base(self) -> str:
            return f"{place}/{uuid.uuid4().hex}"

    return InPlace


@pytest.mark.slow
@pytest.mark.parametrize("runs", [40, pytest.param(300, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
class TestModel:
    def test_memory(self, runs):
        run(machine_in(f"memory://{uuid.uuid4().hex}"), runs)

    def test_local(self, runs, tmp_path):
        run(machine_in(str(tmp_path)), runs)

    @pytest.mark.real_s3
    def test_s3(self, runs, s3_url, open_uploads):
        run(machine_in(s3_url), runs // 5)
        assert open_uploads() == []
