"""Describes values as JSON for cache keys: equal for equal content, in every process and on every machine."""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import io
import pathlib
import pickle
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from cpr.errors import CprError, NoDataError, spelled
from cpr.prefect.canonical_arrays import describe_array, dtype_options, exact
from cpr.prefect.canonical_tables import describe_table, is_table
from cpr.prefect.class_members import (
    chooses_its_state,
    derived_attributes,
    holds_more_than_attributes,
    state_of,
)
from cpr.prefect.code_graph import CodeGraph
from cpr.prefect.data_versions import (
    MappedFiles,
    ask_versions,
    is_of,
    lazy_content,
    version_of_open_file,
    version_of_path,
    version_of_zarr,
)
from cpr.prefect.description_graph import Part, Unordered, is_name
from cpr.prefect.own_code import is_own_class
from cpr.prefect.plain_values import LEAVES, VIEWS, are_texts, refused, sha
from cpr.prefect.qualified_names import name_of, type_name
from cpr.prefect.redaction import is_secret, is_secret_name
from cpr.Resource import Resource
from cpr.Source import Source

__all__ = ["Describer"]

_LONG = 256
_UNSAID = "unsaid "  # begins the path of what needs no warning if it counts by its type alone
_BUILT_IN = frozenset({list, tuple, dict, set, frozenset})


class Describer:
    """Describes values: JSON's own None, bool, int and str as they are, others as `[kind, ...]`.

    What may be shared is a part, described once however many refer to it.

    Args:
        versions: whether sources and files count with what the store says of them, else by place alone.
        code: where functions and classes of the user's own are numbered; its table is part of a description.
        lenient: whether what has no content to be named counts by its type.
        strict: labels of data that code uses and that is not described leniently.
        ordered: whether the order of dicts counts.
        by_key: a dict whose own order does not count then.

    Attributes:
        resources: those that were met, each with its description.
        secret: whether something was met that may be a secret (see `cpr.prefect.redaction`).
        opaque: places of what counts by its type alone.
        used: data that the code uses, by label: value, description, and who has described it.

    >>> Describer().describe({"b": (1, 2.5)}, "x").description[1][0][1].description
    ['tuple', [1, ['float', '2.5']]]
    """

    def __init__(
        self,
        versions: bool = True,
        code: CodeGraph | None = None,
        lenient: bool = False,
        strict: frozenset[str] = frozenset(),
        ordered: bool = False,
        by_key: Any = None,
    ) -> None:
        self._versions = versions
        self._lenient = lenient
        self._strict = strict
        self._ordered = ordered
        self._by_key = by_key
        self.code = code or CodeGraph()
        if self.code.describe is None:
            self.code.describe = self._describe_used
        self.resources: list[tuple[Resource, Any]] = []
        self.secret = False
        self.opaque: list[str] = []
        self.used: dict[str, tuple[Any, Any, Describer]] = {}
        self.stands_for: dict[str, Part] = {}  # data that code uses, as it counts
        self._mapped = MappedFiles()
        self._known: dict[int, tuple[Part, Any]] = {}  # with the value, so that it keeps its id
        self._waiting: deque[tuple[Part, Any, str]] = deque()
        self._at_work = False
        self._objects: set[type] = set()  # classes of the user's own whose objects nothing else describes

    def _describe_used(self, value: Any, label: str, by_key: bool) -> Any:
        """The description of data that code uses, once for each label; in the order of its entries, too."""
        known = self.used.get(label)
        if known is None or known[0] is not value or (known[2].is_by_key and not by_key):
            lenient = label not in self._strict
            root = value if by_key else None
            describer = Describer(self._versions, self.code, lenient, ordered=True, by_key=root)
            described = describer.describe(value, label)
            self.used[label] = (value, described, describer)
            is_same = known is not None and known[0] is value
            self.stands_for[label] = self.stands_for[label] if is_same else Part()
            self.stands_for[label].description = described
        return self.stands_for[label]

    @property
    def is_by_key(self) -> bool:
        """Whether the order of the entries of what it has described does not count."""
        return self._by_key is not None

    def again(self, value: Any, label: str) -> Any:
        """The description of what it has described, as it is now."""
        describer = Describer(
            self._versions, self.code, self._lenient, ordered=self._ordered, by_key=self._by_key
        )
        return describer.describe(value, label)

    def describe_with_code(self, value: Any, path: str) -> Any:
        """The description of a value and of the user's own code in it. Raises as `describe`."""
        described = self.describe(value, path)
        self.code.complete()
        return described

    def describe(self, value: Any, path: str) -> Any:
        """The description of a value.

        Args:
            value: anything.
            path: how errors call it.

        Raises:
            FormatError: it has no content that could be named; `field` is its place.
            ResourceError: a source could not be asked for its version.
        """
        cls = type(value)
        if value is None or cls is bool:
            return value
        if cls is int:
            # As text: json has no bound for digits where Python has.
            return value if -(1 << 63) <= value < 1 << 63 else ["int", hex(value)]
        if cls is str:
            # What looks like the name of a description would count as what that describes.
            is_plain = len(value) <= _LONG and not is_name(value)
            return value if is_plain else ["str", sha(value.encode("utf-8", "surrogatepass"))]
        if cls in LEAVES:
            return [cls.__name__, LEAVES[cls](value)]
        known = self._known.get(id(value))
        if known is not None:
            return known[0]
        part = Part()
        self._known[id(value)] = (part, value)
        self._waiting.append((part, value, path))
        if not self._at_work:
            self._at_work = True
            try:
                while self._waiting:
                    one, value, path = self._waiting.popleft()
                    one.description = self._describe_part(value, path)
            finally:
                self._at_work = False
        return part

    def _describe_part(self, value: Any, path: str) -> Any:
        cls = type(value)
        try:
            described = self._compound(value, path)
            code = None if cls in _BUILT_IN else self.code.code(cls)
            return described if code is None else ["of", described, code]
        except CprError:
            raise
        except Exception as error:
            # Foreign objects describe themselves below, and may fail in any way.
            return self._cannot(value, path, f"{type(error).__name__}: {error}"[:200], error)

    def _compound(self, value: Any, path: str) -> Any:
        cls = type(value)
        if cls in self._objects:
            return self._reduced(value, path)
        if isinstance(value, Resource):
            return self._resource(value, path)
        if cls is list or cls is tuple:
            return [cls.__name__, self._items(value, path)]
        if cls is dict:
            return ["dict", self._pairs(value, path, self._ordered and value is not self._by_key)]
        if cls is set or cls is frozenset:
            return [cls.__name__, self._set(value, path)]
        if isinstance(value, enum.Enum):
            return ["enum", name_of(cls), value.name, self.describe(value.value, path)]
        if isinstance(value, pathlib.PurePath) or is_of(value, "upath", "UPath"):
            version = version_of_path(value) if self._versions else None
            place = value.as_posix() if isinstance(value, pathlib.PurePath) else str(value)
            if version is None:
                return ["path", place]
            return ["path", place, self.describe(version, path), *self._mapped.content_of(str(value))]
        if isinstance(value, np.generic) and not value.dtype.hasobject:
            more = dtype_options(value.dtype)
            return ["scalar", *exact(np.asarray(value)), *([self.describe(more, path)] if more else [])]
        if isinstance(value, np.ndarray) and value is not np.ma.masked:
            return describe_array(value, path, self.describe)
        if is_of(value, "zarr", "Array", "AsyncArray", "Group", "AsyncGroup"):
            place = str(value.store_path)
            return ["zarr", cls.__name__, version_of_zarr(value) if self._versions else place]
        if is_of(value, "fsspec.core", "OpenFile"):
            described = ["file", cls.__name__, value.path, value.mode, value.compression]
            return [*described, self.describe(version_of_open_file(value), path) if self._versions else None]
        if isinstance(value, io.IOBase) and cls not in (io.BytesIO, io.StringIO):
            raise TypeError("what an open file gives depends on when it is read")
        if cls in VIEWS:
            return [cls.__name__, self.describe(VIEWS[cls](value), path)]
        if dataclasses.is_dataclass(cls):
            names = [field.name for field in dataclasses.fields(value)]
            fields = {name: getattr(value, name) for name in names}
            more = {name: one for name, one in state_of(value).items() if name not in fields}
            described = ["dataclass", name_of(cls), self._attributes(fields, path)]
            described += [self._attributes(more, path)] if more else []
            return [*described, self._reduced(value, path)] if holds_more_than_attributes(cls) else described
        code = self.code.code(value, path)
        if code is not None:
            return code
        if isinstance(value, type):
            return ["named", type_name(value)]
        if isinstance(value, types.BuiltinFunctionType):
            owner = value.__self__
            held = None if isinstance(owner, (types.ModuleType, type)) else self.describe(owner, path)
            return ["named", name_of(value)] if held is None else ["method", value.__name__, held]
        return self._foreign(value, path)

    def _resource(self, value: Resource, path: str) -> Any:
        try:
            if isinstance(value, Source) and not self._versions:
                identity = value.identity_by_path()
            else:
                if isinstance(value, Source):
                    value.confirm_version()
                identity = value.identity()
            described = ["resource", self.describe(identity, path)]
            if isinstance(value, Source) and self._versions:
                described += self._mapped.content_of(value.get_path())
        except NoDataError:
            # Given to a task to be filled, it is only a place.
            options = self._attributes(
                {field.name: getattr(value.format, field.name) for field in dataclasses.fields(value.format)},
                path,
            )
            described = ["empty", type(value).__name__, value.get_path(), options]
        self.resources.append((value, described))
        return described

    def _foreign(self, value: Any, path: str) -> Any:
        """An object of some package, by the way it describes itself best."""
        cls = type(value)
        self.secret = self.secret or is_secret(value)
        if is_of(value, "pydantic", "BaseModel"):
            private = value.__pydantic_private__ or {}
            fields = {**state_of(value), **(value.__pydantic_extra__ or {}), **private}
            return ["model", type_name(cls), self._attributes(fields, path)]
        if is_table(value):
            return [*describe_table(value, path, self.describe)]
        if hasattr(cls, "__dask_tokenize__"):
            token, found = lazy_content(value)
            described = ["lazy", name_of(cls), self.describe(token, path)]
            return [*described, Unordered(self.describe(one, path) for one in found)] if found else described
        if is_own_class(cls):
            self._objects.add(cls)
        return self._reduced(value, path)

    def _reduced(self, value: Any, path: str) -> Any:
        """What pickle would store, by structure: bytes of a pickle differ between processes."""
        cls = type(value)
        reducer = copyreg.dispatch_table.get(cls)
        reduced: Any = reducer(value) if reducer is not None else value.__reduce_ex__(4)
        if isinstance(reduced, str):
            module = pickle.whichmodule(value, reduced)  # type: ignore[attr-defined]
            if getattr(sys.modules.get(module), reduced, None) is not value:
                raise TypeError(f"{module} does not have it under its name, {reduced}")
            return ["named", f"{module}:{reduced}"]
        parts: tuple[Any, ...] = (*reduced, None, None, None)
        function, args, state, items, pairs = parts[:5]
        is_set = isinstance(value, (set, frozenset)) and args == (list(value),)
        described: list[Any] = [
            self._set(value, path) if is_set else self._items(args, path),
            self._state(state, cls, path),
            None if items is None else self._items(list(items), path),
            None if pairs is None else self._pairs(dict(pairs), path, self._ordered),
            # Dicts of other classes are compared without regard to their order.
            self._items(list(value), path) if isinstance(value, OrderedDict) else None,
        ]
        if self._lenient and chooses_its_state(cls):  # type: ignore[arg-type]
            # What code reads of its own objects is there, whatever of it would go to another process.
            described.append(self._attributes(state_of(value), _UNSAID + path))
        made_by = self.code.code(function) if isinstance(function, types.FunctionType) else None
        return ["object", made_by or name_of(function), described]

    def _state(self, state: Any, cls: type, path: str) -> Any:
        derived = derived_attributes(cls)
        if type(state) is tuple and len(state) == 2 and derived:  # with __slots__
            return [self._state(state[0], cls, path), self.describe(state[1], path)]
        if type(state) is not dict:
            return self.describe(state, path)
        kept = {name: one for name, one in state.items() if name not in derived}
        # An object without attributes has no state, also once it has computed some.
        ordered = self._ordered and cls is types.SimpleNamespace
        return None if derived and not kept else self._pairs(kept, path, ordered)

    def _items(self, values: Sequence[Any], path: str) -> list[Any]:
        if self._versions:
            ask_versions(values)
        return [self.describe(item, f"{path}[{index}]") for index, item in enumerate(values)]

    def _set(self, values: Collection[Any], path: str) -> Any:
        if are_texts(values):
            return [self.describe(one, path) for one in sorted(values)]
        return Unordered(self.describe(one, f"{path}{{...}}") for one in values)

    def _pairs(self, value: Mapping[Any, Any], path: str, ordered: bool = False) -> Any:
        self._look_at_names(value)
        names = sorted(value) if are_texts(value) and not ordered else value
        pairs = [
            [self.describe(key, f"{path} key"), self.describe(value[key], f"{path}[{spelled(key, 60)}]")]
            for key in names
        ]
        return pairs if ordered or names is not value else Unordered(pairs)

    def _attributes(self, fields: Mapping[str, Any], path: str) -> dict[str, Any]:
        self._look_at_names(fields)
        return {name: self.describe(item, f"{path}.{name}") for name, item in fields.items()}

    def _look_at_names(self, fields: Mapping[Any, Any]) -> None:
        self.secret = self.secret or any(type(name) is str and is_secret_name(name) for name in fields)

    def _cannot(self, value: Any, path: str, why: str, cause: Exception | None = None) -> Any:
        if self._lenient:
            if not path.startswith(_UNSAID):
                self.opaque.append(f"{path} ({name_of(type(value))})")
            return ["opaque", name_of(type(value))]
        raise refused(value, path, why) from cause
