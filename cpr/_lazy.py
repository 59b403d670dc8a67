"""Lazy public names of a package, where classes live in modules of the same name.

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

__all__ = ["make_lazy"]


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
            value = getattr(importlib.import_module(names[name]), name)
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
