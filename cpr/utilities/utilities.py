"""Cache keys that mean the content, on any machine."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cpr.utilities.code import describe_source, has_source, name_of_function, unwrapped
from cpr.utilities.describing import Describer

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
    return _digest([positional, named])


def task_input_hash(context: TaskRunContext, arguments: dict[str, Any]) -> str | None:
    """`cache_key_fn` for tasks that take resources: names the task's code and its arguments.

    The key changes with the content of an argument (see `hash_objects`), a version of a source in the
    store, and the task's function: its code with every constant in it, and the values of its closure.
    Comments, formatting, docstring and decorators may change freely. Helper functions that the task
    calls do not take part.

    Args:
        context: of the task run.
        arguments: of the task's function.

    Raises what `hash_objects` raises: Prefect logs it, which names the argument, and the task runs
    uncached.

    >>> @prefect.task(cache_key_fn=task_input_hash)
    ... def denoise(image: ImageSource, sigma: float) -> ImageTarget: ...
    """
    describer = Describer()
    inputs = {name: describer.describe(value, name) for name, value in arguments.items()}
    return _digest([name_of_function(context.task), _describe_task(context.task, describer), inputs])


def _describe_task(task: Any, describer: Describer) -> Any:
    function = unwrapped(task.fn)
    if not hasattr(function, "__code__"):
        return describer.describe(function, "the task's function")
    # Prefect reads the source when the task is made, and it travels with the task: every process has the
    # same. Where there was none (a prompt, exec) the bytecode, which also travels, stands for it.
    source = getattr(task, "source_code", None)
    if source is None or not has_source(function):
        return describer.describe(function, "the task's function")
    return [describe_source(source), describer.bound(function, "the task's function")]


def _digest(description: Any) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
