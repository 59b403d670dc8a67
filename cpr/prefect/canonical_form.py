"""What a value is, as JSON values: equal for equal content, in every process and on every machine."""

from __future__ import annotations

import copyreg
import dataclasses
import datetime as dt
import enum
import hashlib
import json
import pathlib
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cpr.data.arrays import hash_array
from cpr.errors import CprError, FormatError, NoDataError
from cpr.prefect.redaction import is_secret, is_secret_name
from cpr.prefect.source_code import describe_code
from cpr.Resource import Resource
from cpr.Source import Source

__all__ = ["Describer"]

_LONG = 256
_MAX_DEPTH = 100
_LOOKUPS = 32  # requests at once


class Describer:
    """Describes values; every description is `[kind, ...]` unless it is JSON's own None, bool, int or str.

    Args:
        versions: whether sources count with what the store says of them, else by URL and options alone.

    Attributes:
        resources: those that were met, each with its description.
        secret: whether something was met that may be a secret (see `cpr.prefect.redaction`).

    >>> Describer().describe({"b": (1, 2.5)}, "x")
    ['dict', [['b', ['tuple', [1, ['float', '2.5']]]]]]
    """

    def __init__(self, versions: bool = True) -> None:
        self._versions = versions
        self.resources: list[tuple[Resource, Any]] = []
        self.secret = False
        self._open: list[int] = []

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
            return value if len(value) <= _LONG else ["str", _sha(value.encode("utf-8", "surrogatepass"))]
        if cls is float:
            return ["float", repr(value)]
        if id(value) in self._open:
            return ["seen", self._open.index(id(value))]
        if len(self._open) > _MAX_DEPTH:
            raise self._refused(value, path, "the value is nested too deeply")
        self._open.append(id(value))
        try:
            return self._compound(value, path)
        except CprError:
            raise
        except Exception as error:
            # Foreign objects describe themselves below, and may fail in any way.
            raise self._refused(value, path, f"{type(error).__name__}: {error}"[:200]) from error
        finally:
            self._open.pop()

    def _compound(self, value: Any, path: str) -> Any:
        cls = type(value)
        if isinstance(value, Resource):
            return self._resource(value, path)
        if cls in _LEAVES:
            return [cls.__name__, _LEAVES[cls](value)]
        if cls is list or cls is tuple:
            return [cls.__name__, self._items(value, path)]
        if cls is dict:
            return ["dict", self._pairs(value, path)]
        if cls is set or cls is frozenset:
            return [cls.__name__, _sorted(self.describe(item, f"{path}{{...}}") for item in value)]
        if isinstance(value, enum.Enum):
            return ["enum", _name(cls), value.name if value.name is not None else int(value.value)]
        if isinstance(value, pathlib.PurePath):
            return ["path", value.as_posix()]
        if isinstance(value, np.generic):
            return ["scalar", *_exact(np.asarray(value))]
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if isinstance(value, types.CodeType):
            return describe_code(value, lambda constant: self.describe(constant, path))
        if isinstance(value, types.FunctionType):
            return self._function(value, path)
        if isinstance(value, type):
            return ["named", _type_name(value)]
        if isinstance(value, types.BuiltinFunctionType | types.ModuleType):
            return ["named", _name(value)]
        if dataclasses.is_dataclass(cls):
            names = [field.name for field in dataclasses.fields(value)]
            return ["dataclass", _name(cls), self._attributes({n: getattr(value, n) for n in names}, path)]
        return self._foreign(value, path)

    def _resource(self, value: Resource, path: str) -> Any:
        try:
            if isinstance(value, Source) and not self._versions:
                identity = value.identity_by_path()
            else:
                identity = value.identity()
            described = ["resource", self.describe(identity, path)]
        except NoDataError:
            # Given to a task to be filled, it is only a place.
            options = self._attributes(
                {field.name: getattr(value.format, field.name) for field in dataclasses.fields(value.format)},
                path,
            )
            described = ["empty", type(value).__name__, value.get_path(), options]
        self.resources.append((value, described))
        return described

    def _array(self, value: np.ndarray[Any, Any], path: str) -> Any:
        if value.dtype.hasobject:
            return ["array", "object", list(value.shape), self._items(value.ravel().tolist(), path)]
        if isinstance(value, np.ma.MaskedArray):
            mask = np.ma.getmaskarray(value)
            return ["masked", hash_array(value.filled()), hash_array(mask)]
        return ["array", *_exact(value)]

    def _function(self, value: types.FunctionType, path: str) -> Any:
        return [
            "function",
            describe_code(value.__code__, lambda constant: self.describe(constant, path)),
            *self.bound(value, path),
        ]

    def bound(self, function: Any, path: str) -> list[Any]:
        """What a function holds beside its code: the values of its closure and of its defaults."""
        cells = {
            name: self.describe(cell.cell_contents, f"{path}.{name}")
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        }
        defaults = [
            self.describe(getattr(function, name), f"{path}.{name}")
            for name in ("__defaults__", "__kwdefaults__")
        ]
        return [defaults, cells]

    def _foreign(self, value: Any, path: str) -> Any:
        """An object of some package, by the way it describes itself best."""
        cls = type(value)
        self.secret = self.secret or is_secret(value)
        if _is_of(value, "pydantic", "BaseModel"):
            fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
            return ["model", _type_name(cls), self._attributes(fields, path)]
        if any(_is_of(value, "pandas", name) for name in ("DataFrame", "Series", "Index")):
            return self._table(value, path)
        if hasattr(cls, "__dask_graph__") and hasattr(cls, "__dask_tokenize__"):
            return ["dask", _name(cls), self._dask_token(value)]
        if hasattr(cls, "__dask_tokenize__"):
            return ["token", _name(cls), self.describe(value.__dask_tokenize__(), path)]
        # What pickle would store, by structure: bytes of a pickle differ between processes.
        reducer = copyreg.dispatch_table.get(cls)
        reduced: Any = reducer(value) if reducer is not None else value.__reduce_ex__(4)
        if isinstance(reduced, str):
            return ["named", f"{cls.__module__}:{reduced}"]
        function, args, *rest = reduced
        state = rest[0] if rest else None
        items = [list(part) if part is not None else None for part in rest[1:3]]
        return ["object", _name(function), self.describe([list(args), state, items], path)]

    def _table(self, value: Any, path: str) -> Any:
        import pandas as pd

        if isinstance(value, pd.RangeIndex):
            return ["range", self.describe(value.name, path), value.start, value.stop, value.step]
        if isinstance(value, pd.MultiIndex):
            # A level that is called 0 would be found before the one that is the first.
            nameless = value.set_names([None] * value.nlevels)
            levels = [self._table(nameless.get_level_values(i), path) for i in range(value.nlevels)]
            return ["levels", levels, self.describe(list(value.names), path)]
        if isinstance(value, pd.Index):
            return ["index", self.describe(value.name, path), str(value.dtype), self._column(value, path)]
        index = self._table(value.index, f"{path}.index")
        if isinstance(value, pd.Series):
            return [
                "series",
                self.describe(value.name, path),
                str(value.dtype),
                self._column(value, path),
                index,
            ]
        columns = [
            [
                self.describe(label, path),
                str(value.dtypes.iloc[i]),
                self._column(value.iloc[:, i], f"{path}[{label!r}]"),
            ]
            for i, label in enumerate(value.columns)
        ]
        return ["frame", self.describe(list(value.columns.names), path), columns, index]

    def _column(self, values: Any, path: str) -> Any:
        data = values.array
        if isinstance(values.dtype, np.dtype) and not values.dtype.hasobject:
            return _exact(np.asarray(data))
        if _is_of(values.dtype, "pandas", "CategoricalDtype"):
            categories = self._table(data.categories, path)
            return ["category", bool(data.ordered), categories, _exact(np.asarray(data.codes))]
        return self._items(list(data), path)

    def _dask_token(self, value: Any) -> str:
        import dask
        from dask.base import tokenize

        with dask.config.set({"tokenize.ensure-deterministic": True}):
            return str(tokenize(value))

    def _items(self, values: Sequence[Any], path: str) -> list[Any]:
        if self._versions:
            _ask_versions(values)
        return [self.describe(item, f"{path}[{index}]") for index, item in enumerate(values)]

    def _pairs(self, value: Mapping[Any, Any], path: str) -> list[Any]:
        self._look_at_names(value)
        return _sorted(
            [self.describe(key, f"{path} key"), self.describe(item, f"{path}[{str(key)[:60]!r}]")]
            for key, item in value.items()
        )

    def _attributes(self, fields: Mapping[str, Any], path: str) -> dict[str, Any]:
        self._look_at_names(fields)
        return {name: self.describe(item, f"{path}.{name}") for name, item in fields.items()}

    def _look_at_names(self, fields: Mapping[Any, Any]) -> None:
        self.secret = self.secret or any(type(name) is str and is_secret_name(name) for name in fields)

    def _refused(self, value: Any, path: str, why: str) -> FormatError:
        cls = type(value)
        root = re.split(r"[.\[{]| key", path, maxsplit=1)[0]
        return FormatError(
            "this value cannot take part in a cache key",
            field=path,
            expected="data: numbers, texts, arrays, tables, resources, containers of them",
            actual=f"{cls.__module__}.{cls.__qualname__} ({why})",
            remedy=f"leave it out of the key, cache_policy=cpr.TargetInputs() + TASK_SOURCE - {root!r}, "
            "or pass what it is made of",
        )


def _sha(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


_LEAVES: dict[type, Callable[[Any], Any]] = {
    complex: repr,
    bytes: _sha,
    bytearray: _sha,
    type(Ellipsis): repr,
    range: repr,
    dt.date: repr,
    dt.timedelta: repr,
}


def _ask_versions(values: Sequence[Any]) -> None:
    """Ask the store for the versions of many sources side by side, not one after another."""
    sources = [value for value in values if isinstance(value, Source)] if len(values) > 1 else []
    if len(sources) > 1:
        with ThreadPoolExecutor(min(_LOOKUPS, len(sources)), "cpr-versions") as pool:
            list(pool.map(Source.version, sources))


def _exact(array: np.ndarray[Any, Any]) -> list[Any]:
    """An array by dtype, shape and elements; byte order and layout in memory make no difference."""
    if array.dtype.kind in "mM":
        # Times hash as the numbers they are stored as, beside their unit.
        return [
            np.datetime_data(array.dtype),
            array.dtype.kind,
            hash_array(array.view(f"{array.dtype.str[0]}i8")),
        ]
    return [hash_array(array)]


def _sorted(descriptions: Iterable[Any]) -> list[Any]:
    return sorted(descriptions, key=lambda description: json.dumps(description, sort_keys=True))


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', None) or value.__name__}"


def _type_name(cls: Any) -> Any:
    """A class, parametrised or not; pydantic puts `Box[int]` into the module that asked for it first."""
    metadata = getattr(cls, "__pydantic_generic_metadata__", None) or {}
    origin = metadata.get("origin") or typing.get_origin(cls)
    if origin is None:
        return _name(cls) if isinstance(cls, type) else repr(cls)
    return [_type_name(origin), [_type_name(arg) for arg in metadata.get("args") or typing.get_args(cls)]]


def _is_of(value: Any, module: str, name: str) -> bool:
    """Whether a value is of a package's class, without importing the package."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name, ()))
