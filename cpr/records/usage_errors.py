"""Errors for common mistakes, such as treating a resource as its data, that name the right call."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from cpr.errors import UsageError, spelled
from cpr.records.registry import source_of

__all__ = [
    "READ_ONLY",
    "FindsNoFiles",
    "NamesWhatIsMeant",
    "not_from_a_path",
    "remedy_for_no_data",
    "require_kind_of_file",
]

_GIVES_DATA = "get_data() gives what it holds"
_MAKE_TARGET = "sources are read; make a target: ImageTarget.from_path(...)"
# Names that resources do not have -> what is meant. Those of arrays and tables are looked up.
_DATA = dict.fromkeys(("__array__", "array", "compute", "load", "open", "read"), _GIVES_DATA) | dict.fromkeys(
    ("filename", "filepath", "path", "uri"), "get_path() tells where it is"
)
# What the predecessor's classes had and called themselves.
_DATA |= {"_read_data": _GIVES_DATA}
WRITTEN = _DATA | dict.fromkeys(
    ("save", "store", "upload", "write", "_write_data"), "set_data(data), then persist(), write it"
)
WRITTEN |= {"_hash_data": "data_hash names the content, once set_data(data) has it"}
READ_ONLY = _DATA | dict.fromkeys(
    ("data_hash", "persist", "save", "set_data", "store", "upload", "write"), _MAKE_TARGET
)
_OPERATORS = "add and floordiv ge gt invert le lt matmul mod mul neg or pos pow sub truediv xor"
_REFLECTED = "add and floordiv matmul mod mul or pow sub truediv xor"


class NamesWhatIsMeant:
    """Base class: using a resource as if it were its data raises UsageError with the right call."""

    _remedies: ClassVar[Mapping[str, str]] = _DATA

    if not TYPE_CHECKING:  # for checkers, what is not there is not there

        def __getattr__(self, name: str) -> Any:
            if name in self._remedies or _is_of_data(name):
                raise self._no(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Object arrays may hold resources; making any other array raises UsageError."""
        if dtype is None or dtype.kind != "O":
            raise self._no("__array__")
        import numpy as np

        whole = np.empty(1, object)
        whole[0] = self
        return whole.reshape(())

    @classmethod
    def _no(cls, name: str) -> UsageError:
        remedy = cls._remedies.get(name, _GIVES_DATA)
        return UsageError(f"{cls.__name__} has no {name}", field=name, remedy=remedy)


def _refusing(name: str) -> Any:
    def refuse(self: NamesWhatIsMeant, *others: Any) -> NoReturn:
        error = self._no(name)
        if any(isinstance(other, NamesWhatIsMeant) for other in others):
            error.remedy = "compute with their data, get_data(); sort them by key=lambda one: one.url"
        raise error

    refuse.__name__ = name
    return refuse


# Python looks these up in the class. `image > 100` and `image - background` are of the data.
for _name in [*_OPERATORS.split(), *(f"r{one}" for one in _REFLECTED.split())]:
    setattr(NamesWhatIsMeant, f"__{_name}__", _refusing(f"__{_name}__"))


def _is_of_data(name: str) -> bool:
    """Whether arrays or tables have an attribute of this name; nothing is imported to find out."""
    if name.startswith("_"):
        return False
    known = (("numpy", "ndarray"), ("pandas", "DataFrame"))
    return any(hasattr(getattr(sys.modules.get(module), cls, None), name) for module, cls in known)


class FindsNoFiles:
    """Base class for targets: `glob` raises UsageError, as existing files are sources."""

    _remedies: ClassVar[Mapping[str, str]] = WRITTEN

    @classmethod
    def glob(cls, pattern: str, **options: Any) -> NoReturn:  # noqa: ARG003
        """Not available: raises UsageError, which names the calls that find files and results."""
        source = cls.__name__.replace("Target", "Source")
        raise UsageError(
            f"{cls.__name__} finds no files: a target is written, and known by its record",
            expected="a source, for files that exist",
            actual=f"{cls.__name__}.glob",
            remedy=f"{source}.glob({pattern!r}); cpr ls lists results",
        )


def not_from_a_path(name: str, path: object, options: Mapping[str, Any]) -> UsageError:
    """Make the error for a class that was called with only a path, or only something else."""
    given = next((options[word] for word in ("path", "url") if path is None and word in options), path)
    if isinstance(given, (str, os.PathLike)):
        remedy = f"{name}.from_path({os.fspath(given)!r})"
    elif isinstance(given, Mapping):
        remedy = f"{name}(**record), or cpr.load(record)"
    elif hasattr(given, "get_path"):
        remedy = "use it as it is; a file is read by a source: from_path(other.get_path())"
    elif given is None:
        remedy = f"{name}.from_path('s3://bucket/folder/name.ext')"
    else:
        target = name.replace("Source", "Target")  # data are written, whatever was called
        remedy = f"target = {target}.from_path(path); target.set_data(data)"
    return UsageError(
        f"{name} is not made from a path alone" if given is not None else f"{name} is made from a path",
        expected="a folder, a name and an extension",
        actual=spelled(given, 200),
        remedy=remedy,
    )


def require_kind_of_file(cls: Any, path: object, call: str = "from_path") -> None:
    """Raise UsageError for an abstract base class, which has no file format."""
    if hasattr(cls, "format_class"):
        return
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else "s3://bucket/folder/image.tif"
    name = source_of(str(text)) or "ImageSource"
    if cls.__name__ == "Target":
        name = name.replace("Source", "Target")
    raise UsageError(
        f"{cls.__name__} stands for all kinds of files",
        expected=f"the class of one kind, such as {name}",
        actual=cls.__name__,
        remedy=f"{name}.{call}({text!r})",
    )


def remedy_for_no_data(data: Any) -> str | None:
    """The remedy for an argument that is not data; None if it may be data.

    >>> remedy_for_no_data("raw/cell.tif")
    "read the file first: a source's from_path('raw/cell.tif').get_data()"
    """
    if data is None:
        return "give the data itself; a task with nothing to store returns None, and no target"
    if isinstance(data, (str, os.PathLike)):
        return f"read the file first: a source's from_path({os.fspath(data)!r}).get_data()"
    if hasattr(data, "get_data"):
        return "give its data: set_data(other.get_data()); or return the other target as it is"
    if callable(getattr(data, "result", None)):
        return "wait for the data of a future or state: set_data(future.result())"
    if isinstance(data, Mapping) and "__cpr__" in data:
        return "give the data of the record: set_data(cpr.load(record).get_data())"
    if isinstance(data, (type, FunctionType, BuiltinFunctionType, MethodType, CoroutineType)):
        return "give what it makes: set_data(function()), or set_data(await coroutine)"
    if isinstance(data, (bytes, bytearray, memoryview)) or callable(getattr(data, "readline", None)):
        return "decode the bytes first: an array or a table is stored, not the bytes of a file"
    return None
