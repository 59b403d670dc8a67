"""Collects the provenance of the running task, and sets it on its targets."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_logger, get_run_logger
from prefect.transactions import get_transaction

from cpr._version import __version__
from cpr.io.hashing import hex16
from cpr.io.humanize import human_size
from cpr.prefect.miss_log import Run, explain, keep
from cpr.prefect.openlineage import remember
from cpr.prefect.prefect_internals import ends_others, refreshes, source_of
from cpr.prefect.redaction import describe_input, program_texts
from cpr.prefect.run_log import log
from cpr.prefect.source_code import name_of_function, unwrapped
from cpr.provenance.provenance_record import MAX_INPUTS, Input, Made, is_acceptable
from cpr.provenance.running_task import tell_running_key
from cpr.records.pack import resources_in
from cpr.Resource import Resource
from cpr.Target import Target

__all__ = ["Noted", "begin", "end", "made_here", "made_now", "note", "resume", "sign"]


@dataclass(frozen=True)
class Noted:
    """What a cache key was made of, kept until the task's results get their provenance.

    Attributes:
        task_run: id of the task run.
        inputs: the arguments that count.
        uses: functions and data that the task's code uses.
        code: of the functions among that, by their digests.
        given: URLs of the targets among the arguments, which others have made.
    """

    task_run: Any
    inputs: Mapping[str, Input]
    uses: Mapping[str, Input]
    code: Mapping[str, Any]
    given: frozenset[str]


# Computing the key, running the body and storing the result happen in one context.
_noted: ContextVar[Noted | None] = ContextVar("cpr_noted", default=None)
_explained: ContextVar[str | None] = ContextVar("cpr_explained", default=None)
_kept: ContextVar[str | None] = ContextVar("cpr_kept", default=None)


def note(noted: Noted) -> None:
    """Keep what the task run's key was made of."""
    _noted.set(noted)


def begin() -> Noted | None:
    """Call when the body of the running task begins: notes arguments, and logs why it runs.

    What it returns is for `resume`.
    """
    with _errors_logged():
        _look()
        _explain()
    return _noted.get()


def resume(noted: Noted | None) -> None:
    """Call when the body has ended: restores the notes, which nested tasks have replaced."""
    _noted.set(noted)
    if noted is not None and noted.task_run is not None:
        _explained.set(noted.task_run.hex)


def end() -> None:
    """Call when the result is made: adds it to the journal beside Prefect's records, once.

    Of a task that another one has called Prefect stores the result when that other one ends, in its context.
    """
    with _errors_logged():
        _explain()
        run = _run()
        if run is not None and _kept.get() != run.made.task_run:
            _kept.set(run.made.task_run)
            keep(run)


@contextmanager
def _errors_logged() -> Iterator[None]:
    """Log errors in the block, since provenance must not fail a run."""
    try:
        yield
    except Exception as error:
        get_logger("cpr").debug("What a run was made of is not noted: %s", type(error).__name__)


def _look() -> None:
    """Note the arguments, if no key was computed, before the body changes any."""
    context, noted = _task_run(), _noted.get()
    if context is not None and (noted is None or noted.task_run != context.task_run.id):
        note(_looked_at(context))


def _explain() -> None:
    """Log why the run was not cached, once, unless it was told to refresh."""
    run, transaction = _run(), get_transaction()
    if run is None or _explained.get() == run.made.task_run or refreshes(transaction):
        return
    _explained.set(run.made.task_run)
    explain(run)


def _run() -> Run | None:
    """The running task, if it has a key."""
    context, noted = _task_run(), _noted.get()
    if context is None or noted is None or noted.task_run != context.task_run.id:
        return None
    made, function = made_here(noted), unwrapped(context.task.fn)
    if made is None or made.key is None or not context.persist_result:
        return None
    source = source_of(context.task)
    return Run(
        made,
        name_of_function(context.task),
        source if source is not None and not source.startswith("[") else None,  # see CprTask
        getattr(getattr(function, "__code__", None), "co_firstlineno", 1),
        noted.code,
        context.result_store.result_storage,
        get_run_logger(),
    )


def sign(resources: Iterable[Any]) -> None:
    """Set the running task as provenance of every target that has none yet.

    Targets that came in as arguments were made by others.
    """
    unsigned = [one for one in resources if isinstance(one, Target) and one.made is None]
    if not unsigned:
        return
    with _errors_logged():
        _look()
        noted = _noted.get() if _task_run() is not None else None
        made = made_here(noted)
        for target in {id(one): one for one in unsigned}.values():
            if made is not None and (noted is None or target.url not in noted.given):
                target.set_made(made)
                _tell(target)
        if made is not None:
            remember(made, [one for one in unsigned if one.made is made])


def _tell(target: Target) -> None:
    """Log in the run what was written."""
    if target.seconds is not None and target.nbytes is not None:
        log(
            logging.INFO,
            "wrote %s %s in %.1f s (%s/s), %s",
            target.url,
            human_size(target.nbytes),
            target.seconds,
            human_size(target.nbytes / max(target.seconds, 1e-3)),
            target.checksum,
        )


def made_here(noted: Noted | None) -> Made | None:
    """The provenance of a result that is made now; None outside of runs."""
    task, flow = _task_run(), FlowRunContext.get()
    if task is None and (flow is None or flow.flow_run is None):
        return None
    flow_run = flow.flow_run.id if flow is not None and flow.flow_run is not None else None
    name = getattr(flow.flow, "name", None) if flow is not None and flow.flow is not None else None
    common = Made(flow=_clean(name), flow_run=_hex(flow_run), at=int(time.time()), cpr=__version__)
    if task is None:
        return common
    transaction = get_transaction()
    key = getattr(transaction, "key", None)
    uses = _first(noted.uses) if noted is not None else {}
    return Made(
        task=_clean(task.task.name),
        flow=common.flow,
        flow_run=_hex(task.task_run.flow_run_id),
        task_run=_hex(task.task_run.id),
        at=common.at,
        cpr=common.cpr,
        key=key if key is not None and is_acceptable(key) else None,
        source=source_digest(task.task),
        inputs=_first(noted.inputs) if noted is not None else {},
        uses=uses,
        code=name_of_uses(uses) if uses else None,
    )


def made_now() -> Made | None:
    """The provenance of the result that is stored now; None outside of tasks.

    Also None for results of tasks that the running one has called, which are stored when that one ends.
    """
    with _errors_logged():
        if _task_run() is not None and not ends_others(get_transaction()):
            _look()
            return made_here(_noted.get())
    return None


def _running_key() -> str | None:
    """The cache key of the running task; None for one that refreshes its cache."""
    transaction = get_transaction()
    if _task_run() is None or transaction is None or refreshes(transaction):
        return None
    return transaction.key


def _nth(name: str) -> int:
    """How often this was called before in the transaction; each attempt of a run has its own."""
    transaction = get_transaction()
    if _task_run() is None or transaction is None:
        return 0
    counted: int = transaction.get(f"cpr: {name}", 0)
    transaction.set(f"cpr: {name}", counted + 1)
    return counted


tell_running_key(_running_key, _nth)


def name_of_uses(uses: Mapping[str, Input]) -> str:
    """Hash of what code uses, 16 hex digits."""
    return hex16(json.dumps({name: one.to_json() for name, one in uses.items()}, sort_keys=True).encode())


def source_digest(task: Any) -> str | None:
    """Hash of the source of a task's function, 16 hex digits; None if there is no source."""
    source = source_of(task)
    return hex16(source.encode("utf-8", "surrogatepass")) if isinstance(source, str) else None


def _task_run() -> TaskRunContext | None:
    """The running task, unless a flow runs inside of it."""
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    flow_run = flow.flow_run if flow is not None else None
    if task is not None and flow_run is not None and flow_run.id != task.task_run.flow_run_id:
        return None
    return task


def _looked_at(context: TaskRunContext) -> Noted:
    """The arguments of a run whose key was not computed by cpr, without asking a store."""
    texts = program_texts(unwrapped(context.task.fn), source_of(context.task))
    inputs: dict[str, Input] = {}
    given: set[str] = set()
    for name, value in context.parameters.items():
        found = [one for one in resources_in(value) if isinstance(one, Resource)]
        given.update(one.url for one in found if isinstance(one, Target))
        inputs[name] = describe_input(name, value, None, [(one, None) for one in found], texts)
    return Noted(context.task_run.id, inputs, {}, {}, frozenset(given))


def _first(inputs: Mapping[str, Input]) -> dict[str, Input]:
    """As many inputs as a record may have, without names that no parameter can have."""
    named = ((name, one) for name, one in inputs.items() if is_acceptable(name, 100))
    return dict(one for one, _ in zip(named, range(MAX_INPUTS), strict=False))


def _clean(name: Any) -> str | None:
    """A name with only the characters that records allow."""
    text = "".join(c if c.isprintable() else "?" for c in str(name))[:200] if name is not None else None
    return text if text is not None and is_acceptable(text, 200) else None


def _hex(run: Any) -> str | None:
    return None if run is None else run.hex
