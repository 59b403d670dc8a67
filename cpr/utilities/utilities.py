"""Cache keys that mean the content, on any machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cpr.provenance import Input
from cpr.Target import Target
from cpr.utilities.code import describe_source, has_source, name_of_function, unwrapped
from cpr.utilities.describing import Describer
from cpr.utilities.inputs import describe_input, program_texts

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

__all__ = ["describe_arguments", "hash_objects", "hash_task_inputs", "task_input_hash"]


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
    inputs = describe_arguments(context, arguments)
    return _digest([name_of_function(context.task), _describe_task(context.task, Describer()), inputs])


def hash_task_inputs(context: TaskRunContext, arguments: Mapping[str, Any]) -> str:
    """What `cpr.TargetInputs` hashes: the name of the task's function and its arguments."""
    return _digest([[name_of_function(context.task)], describe_arguments(context, arguments)])


def describe_arguments(context: TaskRunContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The descriptions of a task's arguments; what may be told of them is noted for its results."""
    from cpr.utilities.runs import Noted, note

    described: dict[str, Any] = {}
    inputs: dict[str, Input] = {}
    given: set[str] = set()
    texts = program_texts(unwrapped(context.task.fn))
    for name, value in arguments.items():
        describer = Describer()
        described[name] = describer.describe(value, name)
        digest = None if describer.secret else _hex16(described[name])
        found = [(one, _hex16(what)) for one, what in describer.resources]
        inputs[name] = describe_input(name, value, digest, found, texts)
        given.update(one.url for one, _ in found if isinstance(one, Target))
    run = getattr(context, "task_run", None)
    note(Noted(getattr(run, "id", None), inputs, {}, frozenset(given)))
    return described


def _hex16(description: Any) -> str:
    return _digest(description)[:16]


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
