"""Installed packages that count in cache keys on request: by version, or by source if there is none."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import sys
import types
from collections.abc import Iterable
from contextlib import suppress

from cpr.io.hashing import hex16
from cpr.prefect.own_code import file_of_module, version_of_file

__all__ = ["is_own_package", "names_of_packages", "version_of_package"]


def names_of_packages(packages: Iterable[types.ModuleType | str]) -> tuple[str, ...]:
    """Names of modules and packages, unique and sorted.

    Raises ValueError for a name under which nothing is installed.

    >>> names_of_packages([json, "numpy"])
    ('json', 'numpy')
    """
    names = {one.__name__ if isinstance(one, types.ModuleType) else one for one in packages}
    for name in names:
        if name not in sys.modules and importlib.util.find_spec(name.partition(".")[0]) is None:
            raise ValueError(
                f"uses={name!r}: there is no such package; give a module, or its name in imports"
            )
    return tuple(sorted(names))


def version_of_package(name: str) -> str:
    """The version of the distribution that provides a package, or 16 hex digits of its source.

    >>> version_of_package("json").startswith("Python 3.")
    True
    """
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    version = _installed(top)
    if version is not None:
        return version
    loaded = sys.modules.get(name)
    spec = importlib.util.find_spec(top) if loaded is None else None
    file = file_of_module(loaded) if loaded is not None else getattr(spec, "origin", None)
    return _source(file) if file else "?"


def is_own_package(name: str) -> bool:
    """Whether a package counts by its source, like the user's own code.

    >>> is_own_package("numpy")
    False
    """
    top = name.partition(".")[0]
    return top not in sys.stdlib_module_names and _installed(top) is None


@functools.lru_cache(maxsize=256)
def _installed(top: str) -> str | None:
    """Name and version of a distribution; None if it is editable."""
    for name in (top, *importlib.metadata.packages_distributions().get(top, ())):
        with suppress(importlib.metadata.PackageNotFoundError):
            found = importlib.metadata.distribution(name)
            origin = json.loads(found.read_text("direct_url.json") or "{}")
            editable = origin.get("dir_info", {}).get("editable", False)
            return None if editable else f"{found.name} {found.version}"
    return None


def _source(file: str) -> str:
    folder = os.path.dirname(file)
    if os.path.basename(file) not in ("__init__.py", ""):
        return version_of_file(file) or "?"
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one != "__pycache__")
        paths = (os.path.join(place, name) for name in sorted(names))
        found += [f"{os.path.relpath(path, folder)} {version_of_file(path)}" for path in paths]
    return hex16("\n".join(found).encode("utf-8", "surrogatepass"))
