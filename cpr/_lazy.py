"""Lazily imported public names of a package whose classes live in modules of the same name.

`from cpr.image import ImageSource` must give the class, and so must
`from cpr.image.ImageSource import ImageSource`. Importing a submodule sets it as an attribute of its
package, over the class of the same name; a package made lazy here puts the class there instead.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from cpr.errors import MissingDependencyError

__all__ = ["make_lazy", "missing_package", "needs"]


# Packages that classes are made with -> the extra that has them.
_EXTRAS = {
    "zarr": "zarr",
    "numcodecs": "zarr",
    "pyarrow": "parquet",
    "dask": "dask",
    "openlineage": "openlineage",
}


def missing_package(error: ModuleNotFoundError) -> str | None:
    """Name the package of an optional extra whose absence caused this ImportError."""
    missing = (error.name or "").partition(".")[0]
    # A folder of this name beside a script makes a package without a file.
    found = getattr(sys.modules.get(missing), "__file__", None)
    return missing if missing in _EXTRAS and found is None else None


def needs(what: str, package: str) -> MissingDependencyError:
    """Make the error for a missing package of an optional extra."""
    return MissingDependencyError(
        f"{what} needs the {package} package", remedy=f'pip install "prefect-cpr[{_EXTRAS[package]}]"'
    )


class _Missing(type):
    """Stands for a class whose package is not installed, so that `from cpr import *` and `help(cpr)` work."""

    _package: str

    def _error(cls) -> MissingDependencyError:
        return needs(cls.__name__, cls._package)

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise cls._error()

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):  # of what inspects classes
            raise AttributeError(name)
        raise cls._error()


def make_lazy(package: str, names: Mapping[str, str]) -> None:
    """Let a package import each public name from its module when it is first asked for.

    Args:
        package: the package's `__name__`.
        names: public name -> module that defines it.
    """

    class LazyPackage(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name not in names:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            try:
                module = importlib.import_module(names[name])
            except ModuleNotFoundError as error:
                missing = missing_package(error)
                if missing is None:
                    raise
                # Not kept: the package may be installed while a notebook runs.
                return _Missing(name, (), {"_package": missing, "__doc__": f"Needs the {missing} package."})
            value = getattr(module, name)
            setattr(self, name, value)
            return value

        def __setattr__(self, name: str, value: Any) -> None:
            if isinstance(value, ModuleType) and names.get(name) == value.__name__:
                value = getattr(value, name, value)
            if isinstance(value, type) and name in names:
                # `import cpr.Resource; cpr.Resource.Resource` is the class as well.
                type.__setattr__(value, name, value)
            super().__setattr__(name, value)

        def __reduce__(self) -> tuple[Any, ...]:
            # Pickled with a function that uses it: Dask gets those of a script by value.
            return importlib.import_module, (package,)

        def __dir__(self) -> list[str]:
            return sorted({*super().__dir__(), *names})

    sys.modules[package].__class__ = LazyPackage
