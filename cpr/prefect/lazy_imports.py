"""Modules of the user's own that functions import when they run: known by their files, never imported here.

A key is often made before the function has run for the first time, and always in some process where it has
run already. Both must give the same, so what counts is the file: its code, without comments and docstrings,
and the files of the user's own that it imports in turn. Only where a module was imported and its file has
been edited since does the module itself count, for that is what runs.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cpr.prefect.code_references import facts_of
from cpr.prefect.code_values import Import
from cpr.prefect.own_code import is_own_file, version_of_file

__all__ = ["describe_import", "is_bound", "is_lazy", "submodules_of"]

# Names by which code looks for modules beside it; those that it finds count with it.
_LOOK_FOR_MODULES = frozenset(
    {"iter_modules", "walk_packages", "import_module", "__import__", "listdir", "glob"}
)
_SINCE = time.time_ns()
_versions: dict[tuple[str, str], str | None] = {}  # of files that modules were, or will be, imported from


def describe_import(
    one: Import,
    names: Mapping[str, Any],
    describe: Callable[[types.ModuleType], Any],
    is_unchanged: Callable[[types.ModuleType], bool],
) -> Any:
    """What an import statement brings in of the user's own code; None if there is no such code.

    Args:
        one: the statement.
        names: global names of the module where it stands.
        describe: describes a module that was imported.
        is_unchanged: whether nobody has put anything into one that its file does not.
    """
    found: dict[str, Any] = {}
    waiting = list(_modules_of(one, str(names.get("__package__") or _package(names))))
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        file = _file_of(module)
        if file is None or not is_own_file(file):
            continue
        if not file.endswith(".py"):
            found[module] = version_of_file(file)
            continue
        code = _code_of(file)
        loaded = sys.modules.get(module)
        if loaded is None:
            _versions[module, file] = version_of_file(file)
        if code is None or (
            loaded is not None and not (_is_as_loaded(code, loaded, file) and is_unchanged(loaded))
        ):
            found[module] = None if loaded is None else describe(loaded)
            continue
        facts = facts_of(code)
        found[module] = facts.digest
        package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
        for inner in facts.imports:
            waiting += _modules_of(inner, package)
        if package and not _LOOK_FOR_MODULES.isdisjoint(_names_in(code)):
            waiting += _modules_in(os.path.dirname(file), package)
    return ["imported", sorted(found.items())] if found else None


def is_bound(module: types.ModuleType, name: str) -> bool:
    """Whether a module's own statements bind a name, as far as its file tells."""
    file = getattr(module, "__file__", None)
    code = _code_of(file) if isinstance(file, str) and file.endswith(".py") else None
    names = None if code is None else _bound_names(code)
    return names is None or name in names


def is_lazy(module: types.ModuleType, name: str, is_there: bool) -> bool:
    """Whether a module's `__getattr__` is asked for a name, or was and has kept the answer."""
    return "__getattr__" in vars(module) and not (is_there and is_bound(module, name))


@functools.lru_cache(maxsize=256)
def _bound_names(code: types.CodeType) -> frozenset[str] | None:
    """Names that the statements of a module bind; None if that cannot be known."""
    found = set()
    for one in dis.get_instructions(code):
        if one.opname == "STORE_NAME":
            found.add(one.argval)
        elif one.opname == "IMPORT_STAR" or one.argrepr == "INTRINSIC_IMPORT_STAR":
            return None
    return frozenset(found)


def submodules_of(package: types.ModuleType) -> Import | None:
    """A statement that would import everything in a package; None for other modules."""
    folders = vars(package).get("__path__") or ()
    names = sorted({name for folder in folders for name in _names_below(folder)})
    return Import(0, package.__name__, tuple(names)) if names else None


def _names_below(folder: str) -> set[str]:
    """Names of the modules in a package's folder, and in folders below it."""
    names = {
        os.path.relpath(os.path.join(place, file[:-3]), folder).replace(os.sep, ".")
        for place, folders, files in os.walk(folder)
        for file in files
        if file.endswith(".py") and "__pycache__" not in place
    }
    return {name.removesuffix(".__init__") for name in names} - {"__init__", "__main__"}


def _modules_in(folder: str, package: str) -> list[str]:
    return [f"{package}.{name}" for name in sorted(_names_below(folder))]


@functools.lru_cache(maxsize=1024)
def _names_in(code: types.CodeType) -> frozenset[str]:
    """Names that a module's code uses, in functions too."""
    inner = (_names_in(one) for one in code.co_consts if isinstance(one, types.CodeType))
    return frozenset(code.co_names).union(*inner)


def _package(names: Mapping[str, Any]) -> str:
    name = str(names.get("__name__") or "")
    return name if "__path__" in names else name.rpartition(".")[0]


def _modules_of(one: Import, package: str) -> Iterator[str]:
    """Names of modules that a statement may import: packages around it, and what may be a module in it."""
    parts = package.split(".") if package else []
    base = parts[: len(parts) - one.level + 1] if one.level else []
    if one.level > len(parts):
        return
    path = [*base, *filter(None, one.module.split("."))]
    for end in range(1, len(path) + 1):
        yield ".".join(path[:end])
    for name in one.names:
        yield ".".join([*path, name])


def _file_of(module: str) -> str | None:
    """The file of a module, imported or not; None for packages without one."""
    loaded = sys.modules.get(module)
    if isinstance(loaded, types.ModuleType):
        return getattr(loaded, "__file__", None)
    top, *rest = module.split(".")
    if top in sys.builtin_module_names:
        return None
    spec = None
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(top)  # of a name without dots nothing is imported
    if spec is None:
        return None
    if not rest:
        return spec.origin if spec.has_location else None
    for folder in spec.submodule_search_locations or ():
        place = os.path.join(folder, *rest)
        for file in (os.path.join(place, "__init__.py"), f"{place}.py"):
            if os.path.isfile(file):
                return file
    return None


def _code_of(file: str) -> types.CodeType | None:
    """A module's file, compiled; None if it cannot be."""
    return _compiled(file, version_of_file(file))


@functools.lru_cache(maxsize=1024)
def _compiled(file: str, version: str | None) -> types.CodeType | None:
    if version is None:
        return None
    try:
        with open(file, "rb") as opened:
            return compile(opened.read(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return None


def _is_as_loaded(code: types.CodeType, module: types.ModuleType, file: str) -> bool:
    """Whether a module that was imported is what its file has now.

    Of a module that was there before anybody asked, a file that was written to since cpr was imported may be
    another one.
    """
    place, version = (module.__name__, file), version_of_file(file)
    if place not in _versions and os.stat(file).st_mtime_ns > _SINCE:
        return False
    if _versions.setdefault(place, version) != version:
        return False
    inside = _inside(code)
    return all(
        facts_of(function.__code__).digest in inside
        for function in _functions_of(module)
        if function.__code__.co_filename == code.co_filename
    )


def _functions_of(module: types.ModuleType) -> Iterator[types.FunctionType]:
    for value in list(vars(module).values()):
        for one in [value, *(vars(value).values() if isinstance(value, type) else ())]:
            function = getattr(one, "__func__", one)
            if isinstance(function, types.FunctionType) and function.__globals__ is vars(module):
                yield function


@functools.lru_cache(maxsize=256)
def _inside(code: types.CodeType) -> frozenset[str]:
    """Digests of all code in a module."""
    found, waiting = set(), [code]
    while waiting:
        one = waiting.pop()
        found.add(facts_of(one).digest)
        waiting += [constant for constant in one.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(found)
