"""Classes for tests of what comes back from a record; and, in `nested`, a Hypothesis strategy for values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import pathlib
import uuid
import zoneinfo
from collections import namedtuple
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from tests.text_format import TextSource, TextTarget

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    SCARLET = "red"  # noqa: PIE796 - an alias
    GREEN = ("not", "json")


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: Any
    y: Any = 0


Pair = namedtuple("Pair", "first second")  # noqa: PYI024 - both kinds are to come back


@dataclasses.dataclass
class Cell:
    image: Any
    area: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    value: Any
    derived: int = dataclasses.field(init=False, default=7)


@dataclasses.dataclass
class Loud:
    """Its code must not run when a record is read."""

    value: Any

    def __post_init__(self) -> None:
        self.value = [self.value]


class Outer:
    @dataclasses.dataclass
    class Inner:
        value: Any


class Measured(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    image: TextTarget | None = None
    name: str = Field("unnamed", alias="Name")
    tags: set[str] = set()

    @field_validator("name")
    @classmethod
    def no_digits(cls, name: str) -> str:
        if any(c.isdigit() for c in name):
            raise ValueError("no digits")
        return name


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    value: Any = None


class Box(BaseModel, Generic[T]):
    content: T


class Names(RootModel[list[str]]):
    pass


def text_target(text: str = "hello", base: str = "memory://flows") -> TextTarget:
    target = TextTarget.from_path(f"{base}/note.txt")
    target.set_data(text)
    return target


def scalars() -> st.SearchStrategy[Any]:
    zones = st.sampled_from(
        [None, dt.UTC, dt.timezone(dt.timedelta(hours=2), "x"), zoneinfo.ZoneInfo("Asia/Tokyo")]
    )
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(max_size=20),
        st.binary(max_size=20).map(bytearray),
        st.complex_numbers(),
        st.datetimes(timezones=zones),
        st.dates(),
        st.times(timezones=st.sampled_from([None, dt.UTC])),
        st.timedeltas(),
        st.uuids(),
        st.decimals(),
        st.sampled_from([*Colour, *Mode, Mode.READ | Mode.WRITE, Mode(0), Level.LOW]),
        st.sampled_from(
            [pathlib.Path("/a/b.tif"), pathlib.PureWindowsPath("c:\\a"), pathlib.PurePosixPath("x")]
        ),
        st.sampled_from(
            [np.float32(1.1), np.float64("nan"), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)]
        ),
        st.sampled_from([np.str_("ä"), np.str_(""), np.bytes_(b"a"), np.complex64(1j), np.float16(2)]),
        st.sampled_from(
            [np.datetime64("NaT"), np.datetime64("2026-01-01T00:00", "ms"), np.timedelta64(3, "D")]
        ),
    )


def hashable() -> st.SearchStrategy[Any]:
    return st.recursive(
        st.one_of(st.integers(), st.text(), st.booleans(), st.uuids(), st.none(), st.sampled_from([*Colour])),
        lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
        max_leaves=4,
    )


def nested() -> st.SearchStrategy[Any]:
    """Values of everything that can be stored, inside one another."""
    markers = st.sampled_from(["__cpr__", "type", "data", "metadata", "result", "__class__"])
    leaves = st.one_of(
        scalars(),
        st.text(max_size=5).map(text_target),
        st.just(TextSource.from_path("memory://flows/raw.txt")),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.one_of(markers, hashable()), inner, max_size=3),
            st.sets(hashable(), max_size=3),
            st.frozensets(hashable(), max_size=3),
            st.builds(Cell, inner),
            st.builds(Frozen, inner),
            st.builds(Outer.Inner, inner),
            st.builds(Point, inner, inner),
            st.builds(Pair, inner, inner),
            st.builds(Loose, value=inner),
            st.builds(lambda v: Loose(value=1, more=v), inner),
            st.builds(lambda v: Box[Any](content=v), inner),
        ),
        max_leaves=12,
    )


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal in type and content, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (TextTarget, TextSource)):
        return a.serialize() == b.serialize()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            same(k1, k2) and same(v1, v2) for (k1, v1), (k2, v2) in zip(a.items(), b.items(), strict=True)
        )
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, BaseModel):
        return (
            a.model_fields_set == b.model_fields_set
            and same(a.__dict__, b.__dict__)
            and same(a.__pydantic_extra__, b.__pydantic_extra__)
        )
    if isinstance(a, (dt.datetime, dt.time)):
        return a == b and a.fold == b.fold and repr(a.tzinfo) == repr(b.tzinfo)
    if isinstance(a, (float, complex, Decimal, np.generic)):
        return repr(a) == repr(b)
    if isinstance(a, uuid.UUID):
        return a == b
    return a == b
