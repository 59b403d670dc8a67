"""What people try by the words of arrays, tables and files: errors that name the call that is meant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from cpr.errors import UsageError

__all__ = ["READ_ONLY", "FindsNoFiles", "NamesWhatIsMeant", "meant_by", "not_from_a_path"]

# Names that resources do not have -> what is meant.
_DATA = dict.fromkeys(("__array__", "dtype", "read", "shape", "values"), "get_data() gives what it holds")
READ_ONLY = _DATA | dict.fromkeys(
    ("data_hash", "persist", "set_data"), "sources are read; make a target: ImageTarget.from_path(...)"
)


class NamesWhatIsMeant:
    """A resource that is taken for its data raises UsageError, which names the call that gives it."""

    _remedies: ClassVar[dict[str, str]] = _DATA

    if not TYPE_CHECKING:  # for checkers, what is not there is not there

        def __getattr__(self, name: str) -> Any:
            if name in self._remedies:
                raise self._no(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Arrays of objects hold resources as they are; other ones are made of data."""
        if dtype is None or dtype.kind != "O":
            raise self._no("__array__")
        import numpy as np

        whole = np.empty(1, object)
        whole[0] = self
        return whole.reshape(())

    @classmethod
    def _no(cls, name: str) -> UsageError:
        return UsageError(f"{cls.__name__} has no {name}", field=name, remedy=cls._remedies[name])


class FindsNoFiles:
    """Targets are written; files that exist are sources."""

    @classmethod
    def glob(cls, pattern: str, **options: Any) -> NoReturn:  # noqa: ARG003
        """Not offered: raises UsageError, which names what finds files and results."""
        source = cls.__name__.replace("Target", "Source")
        raise UsageError(
            f"{cls.__name__} finds no files: a target is written, and known by its record",
            expected="a source, for files that exist",
            actual=f"{cls.__name__}.glob",
            remedy=f"{source}.glob({pattern!r}); cpr ls lists results",
        )


def not_from_a_path(name: str, path: object) -> UsageError:
    """For a class that is called with a path alone."""
    return UsageError(
        f"{name} is not made from a path alone",
        expected="a folder, a name and an extension",
        actual=repr(path),
        remedy=f"{name}.from_path({path!r})",
    )


def meant_by(data: Any) -> str | None:
    """The remedy for what is no data; None for what may be some.

    >>> meant_by("raw/cell.tif")
    "read the file first: a source's from_path('raw/cell.tif').get_data()"
    """
    if data is None:
        return "give the data itself; a task with nothing to store returns None, and no target"
    if isinstance(data, (str, os.PathLike)):
        return f"read the file first: a source's from_path({os.fspath(data)!r}).get_data()"
    if hasattr(data, "get_data"):
        return "give its data: set_data(other.get_data()); or return the other target as it is"
    return None
