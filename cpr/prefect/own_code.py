"""Decides which code is the user's own: neither Python's, nor installed, nor cpr's.

Scripts, notebooks, modules beside them, folders on `sys.path` and editable installs are the user's own;
what lies in site-packages or dist-packages and Python's own library are not.
"""

from __future__ import annotations

import functools
import importlib.machinery
import os
import re
import sys
import sysconfig
import types
from typing import Any

from cpr.io.hashing import hex16

__all__ = [
    "file_of_module",
    "is_extension",
    "is_own_class",
    "is_own_file",
    "is_own_function",
    "is_own_module",
    "is_python_class",
    "name_in_package",
    "version_of_file",
]

_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, tuple)
_MAIN = frozenset({"__main__", "__mp_main__"})


@functools.lru_cache(maxsize=1)
def _not_own() -> tuple[str, ...]:
    """Folders of Python's own library and of cpr."""
    library = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)]
    folders = [*library, os.path.dirname(os.path.dirname(__file__))]
    return tuple({os.path.realpath(one) + os.sep for one in folders if one})


@functools.lru_cache(maxsize=4096)
def is_own_file(file: str) -> bool:
    """Whether the code in a file is the user's own.

    >>> is_own_file("/home/me/lab/flow.py"), is_own_file("/env/lib/site-packages/numpy/__init__.py")
    (True, False)
    """
    if file.startswith("<frozen") or _INSTALLED.search(file):
        return False
    return not os.path.realpath(file).startswith(_not_own())


def _is_own(name: str | None, file: Any) -> bool:
    if name in _MAIN:
        return True
    if isinstance(file, str):
        return is_own_file(file)
    # Typed at a prompt, or come by value.
    return name is None or name.partition(".")[0] not in {*sys.stdlib_module_names, *sys.builtin_module_names}


def file_of_module(module: types.ModuleType) -> str | None:
    """The file of a module, or the folder of a package without a file; None if unknown."""
    names = vars(module)
    file = names.get("__file__")
    if isinstance(file, str):
        return file
    folders = list(names.get("__path__") or ())
    return os.path.join(folders[0], "") if folders and isinstance(folders[0], str) else None


def is_own_module(module: types.ModuleType) -> bool:
    """Whether a module is the user's own.

    >>> is_own_module(os)
    False
    """
    return _is_own(module.__name__, file_of_module(module))


def is_extension(module: types.ModuleType) -> bool:
    """Whether a module is compiled, so that its functions cannot be analysed."""
    return (file_of_module(module) or "").endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))


def is_own_function(function: types.FunctionType) -> bool:
    """Whether a function is defined in the user's own code, whatever it wraps.

    >>> is_own_function(os.path.join), is_own_function(lambda: 0)
    (False, False)
    """
    names = function.__globals__
    name, file = names.get("__name__"), names.get("__file__")
    if file is None and name not in _MAIN:
        file = _file_by_name(name) or _file_of_code(function.__code__)
    return _is_own(name, file)


def is_own_class(cls: type) -> bool:
    """Whether a class is defined in the user's own code."""
    name = type.__getattribute__(cls, "__module__")
    if not isinstance(name, str):
        return True
    if _is_own(name, None if name in _MAIN else _file_by_name(name)):
        return True
    module = sys.modules.get(name)
    if not is_python_class(cls) or getattr(module, cls.__name__, None) is cls:
        return False
    # What make_dataclass and new_class make of the user's code says that it comes from `types`; a class whose
    # `__module__` was set says anything.
    members = (getattr(one, "__func__", one) for one in list(vars(cls).values()))
    return name == "types" or any(type(one) is types.FunctionType and is_own_function(one) for one in members)


def is_python_class(cls: type) -> bool:
    """Whether a class was made by a class statement, not in C."""
    return bool(cls.__flags__ & (1 << 9))  # Py_TPFLAGS_HEAPTYPE


def name_in_package(value: Any) -> str | None:
    """Name of an object that an installed package, or Python, keeps; None for other objects.

    It counts by that name alone: the state of a hidden random generator or of the environment does not.

    >>> name_in_package(os.environ)
    'os:environ'
    """
    cls = type(value)
    if cls in _PLAIN or issubclass(cls, (type, types.FunctionType, types.ModuleType)):
        return None
    owner = value.__self__ if cls in (types.MethodType, types.BuiltinFunctionType) else value
    place = "sys" if cls in (list, dict) else type.__getattribute__(type(owner), "__module__")
    while isinstance(place, str) and place:
        module = sys.modules.get(place)
        if type(module) is types.ModuleType and not is_own_module(module):
            for name, one in list(vars(module).items()):
                if one is value:
                    return f"{place}:{name}"
        place = place.rpartition(".")[0]
    return None


def _file_by_name(name: Any) -> str | None:
    module = sys.modules.get(name) if isinstance(name, str) else None
    return file_of_module(module) if isinstance(module, types.ModuleType) else None


def _file_of_code(code: types.CodeType) -> str | None:
    return code.co_filename if os.path.isabs(code.co_filename) else None


@functools.lru_cache(maxsize=1024)
def _digest_of_file(file: str, size: int, modified: int) -> str:  # noqa: ARG001 - what the digest depends on
    with open(file, "rb") as opened:
        return hex16(opened.read())


def version_of_file(file: str) -> str | None:
    """Hash of a file's content, 16 hex digits, computed again when it changes; None if missing."""
    try:
        status = os.stat(file)
        return _digest_of_file(file, status.st_size, status.st_mtime_ns)
    except OSError:
        return None
