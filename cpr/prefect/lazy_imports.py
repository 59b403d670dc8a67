"""Describes modules that functions import when they run, from their files, without importing them.

A key is often made before the function has run for the first time, and also in processes where it has run
already. Both must give the same key, so the file counts: its code, without comments and docstrings, and the
user's own files that it imports in turn. Only if a module was imported and its file has been edited since
does the imported module count, because that is what runs.
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
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.machinery import ModuleSpec
from typing import Any
from weakref import WeakKeyDictionary

from cpr.prefect.code_references import facts_of
from cpr.prefect.code_values import Import
from cpr.prefect.own_code import is_own_file, version_of_file

__all__ = ["Imports", "code_of_file", "is_bound", "is_lazy", "names_bound_by", "submodules_of"]

# Names by which code looks for modules beside it; those that it finds count with it.
_LOOK_FOR_MODULES = frozenset(
    {"iter_modules", "walk_packages", "import_module", "__import__", "listdir", "glob"}
)
_SINCE = time.time_ns()
_versions: dict[tuple[str, str], str | None] = {}  # of files that modules were, or will be, imported from
_METHODS = (staticmethod, classmethod, types.MethodType)
# A module if it was imported, its file if that is the user's own, and the version of that.
_Seen = tuple[types.ModuleType | None, str | None, str | None]
# Of modules that were compared with their files: code of the file, that of the functions, and the outcome.
_compared: WeakKeyDictionary[types.ModuleType, tuple[types.CodeType, list[types.CodeType], bool]] = (
    WeakKeyDictionary()
)


class Imports:
    """The modules that import statements load; each is examined once.

    Args:
        describe: describes a module that was imported.
        is_unchanged: whether a module holds nothing but what its file puts there, but for some names.
    """

    def __init__(
        self,
        describe: Callable[[types.ModuleType], Any],
        is_unchanged: Callable[[types.ModuleType, Collection[str]], bool] | None,
    ) -> None:
        self._describe = describe
        self._is_unchanged = is_unchanged
        self._seen: dict[str, _Seen] = {}
        self._place_of = functools.cache(_place_of)
        self._as_files_say: dict[tuple[str, Collection[str]], bool] = {}

    def describe(self, one: Import, names: Mapping[str, Any], changed: Collection[str] = ()) -> Any:
        """Describe the user's code that an import statement loads; None if there is none.

        Args:
            one: the statement.
            names: global names of the module where it stands.
            changed: names of what may be changed in modules and still not count.
        """
        found: dict[str, Any] = {}
        waiting = list(_modules_of(one, str(names.get("__package__") or _package(names))))
        while waiting:
            module = waiting.pop()
            if module in found:
                continue
            loaded, file, version = self._look(module)
            if file is None:
                continue
            if not file.endswith(".py"):
                found[module] = version
                continue
            if not self._is_as_its_file_says(module, changed):
                found[module] = None if loaded is None else self._describe(loaded)
                continue
            code = _compiled(file, version)
            assert code is not None
            facts = facts_of(code)
            found[module] = facts.digest
            package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
            for inner in facts.imports:
                waiting += _modules_of(inner, package)
            if package and not _LOOK_FOR_MODULES.isdisjoint(_names_in(code)):
                waiting += _modules_in(os.path.dirname(file), package)
        return ["imported", sorted(found.items())] if found else None

    def _look(self, module: str) -> _Seen:
        seen = self._seen.get(module)
        if seen is None:
            seen = self._seen[module] = _seen(module, self._place_of)
            loaded, file, version = seen
            if loaded is None and file is not None:
                _versions[module, file] = version
        return seen

    def _is_as_its_file_says(self, module: str, changed: Collection[str]) -> bool:
        known = self._as_files_say.get((module, changed))
        if known is None:
            known = self._as_files_say[module, changed] = self._ask(self._seen[module], changed)
        return known

    def _ask(self, seen: _Seen, changed: Collection[str]) -> bool:
        loaded, file, version = seen
        code = None if file is None else _compiled(file, version)
        if file is None or code is None or loaded is None:
            return code is not None
        is_unchanged = self._is_unchanged
        return _is_as_loaded(code, loaded, file, version) and (
            is_unchanged is None or is_unchanged(loaded, changed)
        )

    def hold(self) -> bool:
        """Whether all modules are unchanged."""
        place_of = functools.cache(_place_of)
        return all(_seen(module, place_of) == seen for module, seen in self._seen.items()) and all(
            self._ask(self._seen[module], changed) == known
            for (module, changed), known in self._as_files_say.items()
        )


def _seen(module: str, place_of: Callable[[str], ModuleSpec | None]) -> _Seen:
    loaded = sys.modules.get(module)
    is_loaded = isinstance(loaded, types.ModuleType)
    file = getattr(loaded, "__file__", None) if is_loaded else _file_of(module, place_of)
    if file is None or not is_own_file(file):
        return None, None, None
    return loaded if is_loaded else None, file, version_of_file(file)


def is_bound(module: types.ModuleType, name: str) -> bool:
    """Whether a module's own statements bind a name, according to its file."""
    file = getattr(module, "__file__", None)
    code = code_of_file(file) if isinstance(file, str) and file.endswith(".py") else None
    names = None if code is None else names_bound_by(code)
    return names is None or name in names


def is_lazy(module: types.ModuleType, name: str, is_there: bool) -> bool:
    """Whether a module's `__getattr__` provides a name, or provided it and stored it."""
    return "__getattr__" in vars(module) and not (is_there and is_bound(module, name))


@functools.lru_cache(maxsize=256)
def names_bound_by(code: types.CodeType) -> Mapping[str, int] | None:
    """How often a module's statements bind or delete each name; None if unknown."""
    found: Counter[str] = Counter()
    for one in dis.get_instructions(code):
        if one.opname in ("STORE_NAME", "DELETE_NAME"):
            found[one.argval] += 1
        elif one.opname == "IMPORT_STAR" or one.argrepr == "INTRINSIC_IMPORT_STAR":
            return None
    return found


def submodules_of(package: types.ModuleType) -> Import | None:
    """A statement that would import everything in a package; None for other modules."""
    folders = vars(package).get("__path__") or ()
    names = sorted({name for folder in folders for name in _names_below(folder)})
    return Import(0, package.__name__, tuple(names)) if names else None


def _names_below(folder: str) -> set[str]:
    """Names of the modules in a package's folder and its subfolders."""
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
    """Names that a module's code uses, including inside functions."""
    inner = (_names_in(one) for one in code.co_consts if isinstance(one, types.CodeType))
    return frozenset(code.co_names).union(*inner)


def _package(names: Mapping[str, Any]) -> str:
    name = str(names.get("__name__") or "")
    return name if "__path__" in names else name.rpartition(".")[0]


def _modules_of(one: Import, package: str) -> Iterator[str]:
    """Names of the modules that a statement may import: parent packages, and possible submodules."""
    parts = package.split(".") if package else []
    base = parts[: len(parts) - one.level + 1] if one.level else []
    if one.level > len(parts):
        return
    path = [*base, *filter(None, one.module.split("."))]
    for end in range(1, len(path) + 1):
        yield ".".join(path[:end])
    for name in one.names:
        yield ".".join([*path, name])


def _file_of(module: str, place_of: Callable[[str], ModuleSpec | None]) -> str | None:
    """The file of a module that was not imported; None for packages without one."""
    package = sys.modules.get(module.rpartition(".")[0])
    if isinstance(package, types.ModuleType) and "__path__" not in vars(package):
        return None  # something in a module
    top, *rest = module.split(".")
    spec = None if top in sys.builtin_module_names else place_of(top)
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


def _place_of(top: str) -> ModuleSpec | None:
    """Where a module would be imported from; for a top-level name nothing is imported to find out."""
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        return importlib.util.find_spec(top)
    return None


def code_of_file(file: str) -> types.CodeType | None:
    """Compile a module's file; None if that fails."""
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


def _is_as_loaded(code: types.CodeType, module: types.ModuleType, file: str, version: str | None) -> bool:
    """Whether the functions of an imported module are those in its present file.

    Of a module that was there before anybody asked, a file that was written to since cpr was imported may be
    another one.
    """
    place = (module.__name__, file)
    if place not in _versions and os.stat(file).st_mtime_ns > _SINCE:
        return False
    if _versions.setdefault(place, version) != version:
        return False
    functions = [one for one in _functions_of(module) if one.co_filename == code.co_filename]
    known = _compared.get(module)
    if known is None or known[0] is not code or known[1] != functions:
        inside = _inside(code)
        known = code, functions, all(facts_of(one).digest in inside for one in functions)
        _compared[module] = known
    return known[2]


def _functions_of(module: types.ModuleType) -> Iterator[types.CodeType]:
    """The code of the functions and methods defined in a module."""
    names = vars(module)
    for value in list(names.values()):
        for one in [value, *(vars(value).values() if isinstance(value, type) else ())]:
            function = getattr(one, "__func__", one) if type(one) in _METHODS else one
            if type(function) is types.FunctionType and function.__globals__ is names:
                yield function.__code__


@functools.lru_cache(maxsize=256)
def _inside(code: types.CodeType) -> frozenset[str]:
    """Digests of all code objects in a module."""
    found, waiting = set(), [code]
    while waiting:
        one = waiting.pop()
        found.add(facts_of(one).digest)
        waiting += [constant for constant in one.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(found)
