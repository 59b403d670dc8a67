"""Cache keys that mean the content, on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpr.errors import CprError
from cpr.prefect.canonical_form import Describer
from cpr.prefect.source_code import describe_source, has_source, unwrapped
from cpr.utilities.keys import describe_run, digest
from cpr.utilities.uncached import uncached

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

__all__ = ["hash_objects", "task_input_hash"]


def hash_objects(*args: Any, **kwargs: Any) -> str:
    """32 hex digits that name the content of the arguments.

    Equal for equal content in every process, on every machine: the order of keyword arguments, dicts
    and sets does not matter, nor does the layout of an array in memory. Resources count by
    `identity()`, which needs no I/O for targets and one question to the store for a source it does not
    know yet. Types count: 1, 1.0 and True are three things, and so are a list and a tuple. Functions
    count by their code, defaults and closures, in bytecode, which a new Python version may change.
    Paths count as names: what is in the file does not matter (a source does).

    Args:
        *args: what to hash.
        **kwargs: what to hash, under names.

    Raises:
        FormatError: something has no content that could be named (a lock, an open file); `field`
            is its place.
        ResourceError: a source could not be asked for its version.

    >>> hash_objects({"a": 1, "b": 2}) == hash_objects({"b": 2, "a": 1})
    True
    """
    describe = Describer().describe
    positional = [describe(value, f"argument {index}") for index, value in enumerate(args)]
    named = {name: describe(value, name) for name, value in kwargs.items()}
    return digest([positional, named])


def task_input_hash(context: TaskRunContext, arguments: dict[str, Any]) -> str | None:
    """`cache_key_fn` for tasks that take resources: names the task's code and its arguments.

    The key changes with the content of an argument (see `hash_objects`), a version of a source in the
    store, and the task's function: its code with every constant in it, the values of its closure, and the
    constants and functions of its module that it uses (see `cpr.prefect.function_globals`). Comments,
    formatting, docstring and decorators may change freely. Computing it writes nothing and reads no data.

    Args:
        context: of the task run.
        arguments: of the task's function.

    An argument that has no content to be named (a lock, an open file) makes the task run uncached, with a
    warning that names it.

    >>> @prefect.task(cache_key_fn=task_input_hash)
    ... def denoise(image: ImageSource, sigma: float) -> ImageTarget: ...
    """
    try:
        return digest([_describe_code(context.task), *describe_run(context, arguments)])
    except CprError as error:
        uncached(context, error, alone=_is_alone(context.task))
        return None


def _is_alone(task: Any) -> bool:
    """Whether nothing but this function makes the task's keys: Prefect passes None over in a sum."""
    return getattr(getattr(task, "cache_policy", None), "cache_key_fn", None) is task_input_hash


def _describe_code(task: Any) -> Any:
    """The task's function without what it uses."""
    function = unwrapped(task.fn)
    # Prefect reads the source when the task is made, and it travels with the task: every process has the
    # same. Where there was none (a prompt, exec) the bytecode, which also travels, stands for it.
    source = getattr(task, "source_code", None)
    if source is None or not hasattr(function, "__code__") or not has_source(function):
        return Describer().describe(function, "the task's function")
    return describe_source(source)
