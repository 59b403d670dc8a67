"""Describes a function by its normalised source, or by its bytecode."""

from __future__ import annotations

import ast
import functools
import textwrap
from typing import Any

from cpr.prefect.code_references import facts_of
from cpr.prefect.qualified_names import name_of

__all__ = ["describe_bytecode", "describe_source", "has_source", "name_of_function", "unwrapped"]


def unwrapped(function: Any) -> Any:
    """The function inside decorators that use `functools.wraps`."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def has_source(function: Any) -> bool:
    """Whether the source found for a function is really its own.

    From Python 3.13 on, the text given to `python -c` (as to every spawned worker) is found for all
    code that was compiled from text without a file name.
    """
    code = getattr(unwrapped(function), "__code__", None)
    return getattr(code, "co_filename", None) != "<string>"


def name_of_function(task: Any) -> str:
    """The name in the user's code; the task's name may be changed for display."""
    function = unwrapped(task.fn)
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def describe_bytecode(function: Any) -> list[Any]:
    """Describe a function without source by its bytecode; other callables by their class."""
    code = getattr(unwrapped(function), "__code__", None)
    return ["bytecode", name_of(type(function)) if code is None else facts_of(code).digest]


@functools.lru_cache(maxsize=1024)
def describe_source(source: str) -> list[Any]:
    r"""Describe a function's source, without comments, formatting, docstrings and outer decorators.

    >>> one = describe_source("@task(retries=3)\ndef f(x):\n    return x + 1")
    >>> one == describe_source("def f(x):\n    '''Adds.'''\n    return x+1  # one")
    True
    """
    try:
        tree = ast.parse(textwrap.dedent(source))
    except (SyntaxError, ValueError, RecursionError):
        return ["source", source]  # a lambda in the middle of a line
    for index, node in enumerate(ast.walk(tree)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if index == 1:
                node.decorator_list = []
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return ["source", ast.unparse(tree)]
