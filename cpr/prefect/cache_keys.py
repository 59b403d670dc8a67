"""Cache keys from the content of arguments and code, equal on any machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cpr.errors import CprError
from cpr.prefect.canonical_form import Describer
from cpr.prefect.code_graph import CodeGraph
from cpr.prefect.code_put_into_packages import context_of_decimals
from cpr.prefect.description_graph import digest
from cpr.prefect.loaded_modules import is_as_its_file_made_it
from cpr.prefect.packages import is_own_package, version_of_package
from cpr.prefect.prefect_internals import cache_key_fn_of, source_of
from cpr.prefect.run_log import uncached, warn_of_opaque, warn_of_unseen_code
from cpr.prefect.run_provenance import Noted, note
from cpr.prefect.source_code import (
    describe_bytecode,
    describe_source,
    has_source,
    name_of_function,
    unwrapped,
)
from cpr.prefect.used_code import RunDescription, uses_of
from cpr.provenance.provenance_record import Input

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

__all__ = ["describe_run", "digest", "hash_objects", "task_input_hash"]


def hash_objects(*args: Any, hash_algo: Callable[[bytes], Any] | None = None, **kwargs: Any) -> str:
    """32 hex digits that name the content of the arguments.

    Equal for equal content in every process, on every machine: the order of keyword arguments, dicts
    and sets does not matter, nor does the layout of an array in memory. Resources count by
    `identity()`, which needs no I/O for targets and one question to the store for a source it does not
    know yet. Types count: 1, 1.0 and True are three things, and so are a list and a tuple. Functions
    count by their code, defaults and closures, in bytecode, which a new Python version may change.
    A `Path` of a file counts with the size and time of change of the file, of a folder by its name alone.
    Arrays count by xxh3, and where `CPR_CHECKSUM` stands against forgers by that digest too.

    Args:
        *args: what to hash.
        hash_algo: a hash function of hashlib (`hashlib.sha512`) for the result, which has its length.
        **kwargs: what to hash, by name.

    Raises:
        FormatError: something has no content that could be named (a lock, an open file); `field`
            is its place.
        ResourceError: a source could not be asked for its version.

    >>> hash_objects({"a": 1, "b": 2}) == hash_objects({"b": 2, "a": 1})
    True
    """
    describer = Describer(code=CodeGraph(is_unchanged=is_as_its_file_made_it))
    positional = [describer.describe(value, f"argument {index}") for index, value in enumerate(args)]
    named = {name: describer.describe(value, name) for name, value in kwargs.items()}
    describer.code.complete()
    found = digest([positional, named])
    return found if hash_algo is None else str(hash_algo(found.encode()).hexdigest())


def task_input_hash(context: TaskRunContext, arguments: dict[str, Any]) -> str | None:
    """`cache_key_fn` for tasks that take resources: names the task's code and its arguments.

    The key changes with the content of an argument (see `hash_objects`), a version of a source in the
    store, and the task's function: its code with every constant in it, the values of its closure, and the
    constants and functions of its module that it uses (see `cpr.prefect.used_code`). Comments,
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
    """Whether this function alone makes the task's key; in a sum of policies Prefect ignores None."""
    return cache_key_fn_of(getattr(task, "cache_policy", None)) is task_input_hash


def _describe_code(task: Any) -> Any:
    """Describe the code of the task's function, without what it uses."""
    function = unwrapped(task.fn)
    # Prefect reads the source when the task is made, and it travels with the task: every process has the
    # same. Where there was none (a prompt, exec) the bytecode, which also travels, stands for it.
    source = source_of(task)
    if source is None or not hasattr(function, "__code__") or not has_source(function):
        return describe_bytecode(function)
    return describe_source(source)


def describe_run(
    context: TaskRunContext,
    arguments: Mapping[str, Any],
    exclude: Collection[str] = (),
    versions: bool = True,
    packages: Iterable[str] = (),
) -> list[Any]:
    """Describe a task run: name of the function, the code it uses, and its arguments.

    What may be told of them is noted: for the results of the run, and to answer why it was not cached.

    Args:
        context: of the task run.
        arguments: of the task's function.
        exclude: names that do not count, of arguments and of what the function uses.
        versions: whether sources count with what the store says of them, else by URL and options alone.
        packages: names of installed packages that count, besides those that the task names.

    Raises as `cpr.hash_objects`.
    """
    task = context.task
    used = uses_of(task, exclude, versions)
    told = RunDescription(task, exclude, used.asked)
    described = {
        name: told.describe(name, value, versions) for name, value in arguments.items() if name not in exclude
    }
    task_run = getattr(context, "task_run", None)
    installed = {name: version_of_package(name) for name in {*packages, *getattr(task, "uses", ())}}
    told.uses |= {name: Input("package", version) for name, version in sorted(installed.items())}
    uses = {**told.uses, **used.uses} if told.uses else used.uses
    code = {**told.code, **used.code} if told.code else used.code
    given = frozenset({*used.given, *told.given})
    note(Noted(getattr(task_run, "id", None), told.inputs, uses, code, given))
    opaque = [*used.opaque, *told.opaque]
    if opaque and task_run is not None:
        warn_of_opaque(context, opaque)
    unseen = [*used.unseen, *told.unseen]
    if unseen and task_run is not None and not any(is_own_package(name) for name in installed):
        warn_of_unseen_code(context, unseen)
    return [name_of_function(task), used.digest, described, *filter(None, [installed, context_of_decimals()])]
