"""The test class to inherit for a format; it checks the rules that every format must keep.

A plug-in author writes

    class TestMyFormat(FormatTests):
        format = MyFormat()
        samples = ["", "some data"]

and pytest does the rest. Override `equal` where `==` does not compare your data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from cpr import io
from cpr.errors import CprError, FormatError
from cpr.format import Describes, RegionReader, Streams
from cpr.records.format_fields import require_own_names
from cpr.records.registry import RECORD_KEY
from cpr.Resource import Resource
from cpr.Target import Target
from cpr.testing.files import ForwardFile, SeekableBytes

__all__ = ["FormatTests"]


class FormatTests:
    """Inherit, name a format and some samples of its data, and run pytest.

    Attributes:
        format: the format to test, with the options of your choice.
        samples: data it holds.
        refused: data it cannot hold.
        target_class: set it to test through a registered Target as well.
    """

    format: ClassVar[Any]
    samples: ClassVar[Sequence[Any]]
    refused: ClassVar[Sequence[Any]] = ()
    target_class: ClassVar[type[Target] | None] = None

    def equal(self, a: Any, b: Any) -> bool:
        """Whether two pieces of data are the same."""
        return bool(a == b)

    def described(self, data: Any) -> Any:
        """The format with fields filled from the data."""
        return self.format.describe(data) if isinstance(self.format, Describes) else self.format

    def encoded(self, data: Any) -> bytes:
        """The encoded data."""
        file = ForwardFile()
        format = self.described(data)
        format.encode(format.stream(data) if isinstance(format, Streams) else data, file)
        return file.getvalue()

    def test_is_a_frozen_dataclass_of_json_values(self) -> None:
        """Fields go into records: JSON values under names that cpr does not use itself."""
        assert dataclasses.is_dataclass(self.format)
        params: Any = vars(type(self.format))["__dataclass_params__"]
        assert params.frozen
        require_own_names(type(self.format))
        for data in self.samples:
            json.dumps(dataclasses.asdict(self.described(data)))

    def test_comes_back_as_it_was_set(self) -> None:
        """Checks that decode(encode(data)) equals the data."""
        for data in self.samples:
            decoded = self.described(data).decode(SeekableBytes(self.encoded(data)))
            assert self.equal(decoded, data), f"{decoded!r} is not {data!r}"

    def test_equal_data_gives_equal_bytes(self) -> None:
        """Encoding is deterministic."""
        for data in self.samples:
            assert self.encoded(data) == self.encoded(data)

    def test_fingerprint_names_the_content(self) -> None:
        """The fingerprint is the same after a round trip, and differs for different data."""
        fingerprints = []
        for data in self.samples:
            format = self.described(data)
            decoded = format.decode(SeekableBytes(self.encoded(data)))
            assert format.fingerprint(decoded) == format.fingerprint(data)
            fingerprints.append(format.fingerprint(data))
        assert len(set(fingerprints)) == len(self.samples)

    def test_a_stream_has_the_fingerprint_of_the_whole(self) -> None:
        """A stream has the fingerprint of the whole data."""
        for data in self.samples:
            format = self.described(data)
            if isinstance(format, Streams):
                stream = format.stream(data)
                format.encode(stream, ForwardFile())
                assert stream.fingerprint == format.fingerprint(data)

    def test_a_failing_store_is_not_swallowed(self) -> None:
        """An error of write() is raised by encode, wherever it occurs."""
        for data in self.samples:
            size = len(self.encoded(data))
            for position in sorted({0, 1, size // 2, size - 1}):
                if not 0 <= position < size:
                    continue
                format = self.described(data)
                try:
                    format.encode(
                        format.stream(data) if isinstance(format, Streams) else data,
                        ForwardFile(fail_after=position),
                    )
                except OSError:
                    continue
                raise AssertionError(f"write() failed after {position} of {size} bytes and encode went on")

    def test_a_damaged_file_gives_a_format_error_or_other_data(self) -> None:
        """Truncated or flipped bytes raise only cpr's errors."""
        for data in self.samples:
            good = self.encoded(data)
            for position in range(0, len(good), max(1, len(good) // 16)):
                flipped = bytearray(good)
                flipped[position] ^= 0x40
                for bad in (good[:position], bytes(flipped)):
                    with contextlib.suppress(FormatError):
                        self.described(data).decode(SeekableBytes(bad))

    def test_regions_are_what_indexing_gives(self) -> None:
        """A region that the format reads equals that region of the whole."""
        for data in self.samples:
            format = self.described(data)
            if not isinstance(format, RegionReader) or not getattr(data, "ndim", 0):
                continue
            encoded = self.encoded(data)
            for region in (slice(None), slice(0, 1), slice(0, 0)):
                assert self.equal(format.decode_region(SeekableBytes(encoded), region), data[region])

    def test_what_it_cannot_hold_is_refused(self) -> None:
        """Unsuitable data raises FormatError (EncodeError) with the reason."""
        for data in self.refused:
            try:
                self.encoded(data)
            except FormatError as error:
                assert error.remedy, f"{error} names no remedy"
            else:
                raise AssertionError(f"{data!r} was not refused")

    def test_survives_as_a_record(self) -> None:
        """A target of this format comes back from its record in another process."""
        if self.target_class is None:
            return
        ext = type(self.format).extensions[0]
        for data in self.samples:
            options = dataclasses.asdict(self.format)
            target = self.target_class.from_path(f"memory://cpr-testing/{uuid.uuid4().hex}/a{ext}", **options)
            target.set_data(data)
            record = json.loads(json.dumps(target.serialize()))
            assert set(record) == {RECORD_KEY, "data_hash"}
            again: Resource = self.target_class.deserialize(record)
            assert self.equal(again.get_data(), data)
            assert again.identity() == target.identity()

    def test_a_damaged_object_is_noticed(self) -> None:
        """A target never returns wrong data, whatever happened to its object."""
        if self.target_class is None:
            return
        ext = type(self.format).extensions[0]
        for data in self.samples:
            target = self.target_class.from_path(f"memory://cpr-testing/{uuid.uuid4().hex}/a{ext}")
            target.set_data(data)
            good = self.encoded(data)
            target.persist()
            for bad in (
                b"",
                good[: len(good) // 2],
                good + b"x",
                bytes([good[0] ^ 1]) + good[1:] if good else b"x",
            ):
                if bad == good:
                    continue
                with io.writing(target.url) as file:
                    file.write(bad)
                try:
                    found = target.get_data()
                except CprError:
                    continue
                assert self.equal(found, data), f"wrong data from {bad[:40]!r}"
