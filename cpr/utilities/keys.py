"""What the key of a task run is made of: its arguments and what its function uses, each described alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from cpr.prefect.canonical_form import Describer
from cpr.prefect.function_globals import uses_of
from cpr.prefect.redaction import describe_input, program_texts
from cpr.prefect.source_code import name_of_function, unwrapped
from cpr.provenance.made import Input
from cpr.Target import Target

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

__all__ = ["describe_run", "digest"]


def digest(description: Any) -> str:
    """32 hex digits that name a description."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def describe_run(
    context: TaskRunContext,
    arguments: Mapping[str, Any],
    exclude: Collection[str] = (),
    versions: bool = True,
) -> list[Any]:
    """Name of the task's function, descriptions of what it uses, and of its arguments.

    What may be told of them is noted, for the results of the run and for who asks why it was not cached.

    Args:
        context: of the task run.
        arguments: of the task's function.
        exclude: names that do not count, of arguments and of what the function uses.
        versions: whether sources count with what the store says of them, else by URL and options alone.

    Raises as `cpr.hash_objects`.
    """
    from cpr.prefect.run_provenance import Noted, note

    task = context.task
    texts = program_texts(unwrapped(task.fn))
    used = uses_of(task.fn, getattr(task, "source_code", None))
    given: set[str] = set()
    described, told = [], []
    for group in (used, arguments):
        descriptions: dict[str, Any] = {}
        inputs: dict[str, Input] = {}
        for name, value in group.items():
            if name in exclude:
                continue
            describer = Describer(versions)
            descriptions[name] = describer.describe(value, name)
            content = None if describer.secret else digest(descriptions[name])[:16]
            found = [(one, digest(what)[:16]) for one, what in describer.resources]
            inputs[name] = _told(name, value, content, found, texts)
            given.update(one.url for one, _ in found if isinstance(one, Target))
        described.append(descriptions)
        told.append(inputs)
    run = getattr(context, "task_run", None)
    note(Noted(getattr(run, "id", None), inputs=told[1], uses=told[0], given=frozenset(given)))
    return [name_of_function(task), *described]


def _told(name: str, value: Any, content: str | None, found: list[Any], texts: frozenset[str]) -> Input:
    """What may be told of an argument; of objects that fail when they are looked at, the content's digest."""
    try:
        return describe_input(name, value, content, found, texts)
    except Exception:
        return Input("object", digest=content)
