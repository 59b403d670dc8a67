"""The decorator `cpr.task`: Prefect tasks that complete only after their results are stored."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import types
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from prefect.cache_policies import TASK_SOURCE, CachePolicy
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.locking.protocol import LockManager
from prefect.settings import get_current_settings
from prefect.tasks import Task
from prefect.transactions import IsolationLevel
from prefect.utilities.annotations import NotSet

from cpr.prefect.cache_policy import TargetInputs, seeing_sources
from cpr.prefect.locks import BucketLocks
from cpr.prefect.packages import names_of_packages
from cpr.prefect.prefect_internals import source_of
from cpr.prefect.progress import shown
from cpr.prefect.run_provenance import begin, end, resume, sign
from cpr.prefect.serializer import CprSerializer, cpr_serializer
from cpr.prefect.source_code import describe_bytecode, has_source
from cpr.prefect.state_changed_by_runs import watched
from cpr.records.pack import pack, persist_all, resources_in
from cpr.records.registry import Storable

if TYPE_CHECKING:
    from prefect.tasks import TaskOptions
    from typing_extensions import Unpack

__all__ = ["CprTask", "task"]

P = ParamSpec("P")
R = TypeVar("R")
Lock: TypeAlias = str | LockManager | None
Packages: TypeAlias = Sequence[types.ModuleType | str]


class CprTask(Task[P, R]):
    """A Prefect task that persists every target in its result inside its body; made by `task`."""

    def __init__(
        self,
        fn: Callable[P, R],
        lock: Lock = None,
        progress: bool = False,
        uses: Packages = (),
        **options: Unpack[TaskOptions],
    ) -> None:
        super().__init__(fn=_persisting(fn, progress), **_with_defaults(options))
        self._take_source(fn)
        self.lock = lock
        self.uses = names_of_packages(uses)
        self.cache_policy = _locked(seeing_sources(self.cache_policy), lock)

    def _take_source(self, fn: Any) -> None:
        # Without source Prefect takes the bytecode, which is that of our wrapper for every task.
        function = getattr(fn, "__func__", fn)
        if source_of(self) is None or not has_source(function):
            self.source_code = json.dumps(describe_bytecode(function))

    def with_options(self, *, lock: Lock = None, uses: Packages = (), **options: Any) -> CprTask[P, R]:
        """A copy of the task with other options, as in Prefect; it persists its targets too."""
        plain = super().with_options(**options)
        new = type(self).__new__(type(self))
        new.__dict__.update(plain.__dict__)
        new.source_code = self.source_code
        new.lock = self.lock if lock is None else lock
        new.uses = names_of_packages(uses) or self.uses
        new.cache_policy = _locked(seeing_sources(new.cache_policy), new.lock)
        return new


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    fn: None = None,
    /,
    *,
    lock: Lock = None,
    progress: bool = False,
    uses: Packages = (),
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(
    fn: Callable[P, R] | None = None,
    /,
    *,
    lock: Lock = None,
    progress: bool = False,
    uses: Packages = (),
    **options: Unpack[TaskOptions],
) -> Any:
    """Like `prefect.task`, for tasks that complete only after all targets in their result are stored.

    Every target in the returned value, at any depth, is persisted inside the task's body: an upload
    that fails fails the run, and Prefect retries it as its `retries` say. (With `prefect.task` the
    serializer persists after the run has completed; a failure there is only logged.) The result
    must be one that a record can hold, or the run fails with an error that names the offending part.

    Functions may be sync, async, or generators (every yielded value is persisted before it is given
    away), methods, class methods and static methods.

    Args:
        fn: the function, when used as a plain decorator.
        lock: URL of a folder for locks, or a lock manager of Prefect's: if several processes need the same
            result at the same time, one of them computes it (see `BucketLocks`).
        progress: show uploads that take longer than five seconds as progress artifacts of the run in
            Prefect's UI (not of generators, nor of Zarr, which is many small objects).
        uses: installed packages whose version is to count for the cache key, as modules or by name; the
            user's own code counts by itself.
        **options: all of `prefect.task`'s. Where they are not given, `persist_result` is True,
            `result_serializer` is `cpr_serializer()`, and the cache policy is
            `TargetInputs() + TASK_SOURCE`: a result is used again when the content of all arguments
            and the source of the task are as before.

    Raises, inside the run:
        EncodeError: the result cannot be stored.
        ResourceError: a target could not be persisted.

    >>> @cpr.task(retries=2)
    ... def denoise(image: ImageSource, sigma: float) -> ImageTarget:
    ...     target = ImageTarget.from_path(f"s3://bucket/denoised/{image.get_name()}.tif")
    ...     target.set_data(gaussian(image.get_data(), sigma))
    ...     return target
    """
    if fn is None:
        return functools.partial(CprTask, lock=lock, progress=progress, uses=uses, **options)
    return CprTask(fn, lock, progress, uses, **options)


def _with_defaults(options: TaskOptions) -> TaskOptions:
    given: TaskOptions = {**options}
    if given.get("persist_result") is None:
        given["persist_result"] = True
    if given["persist_result"]:
        if given.get("result_serializer") is None:
            given["result_serializer"] = cpr_serializer()
        elsewhere = given.get("cache_key_fn") is not None or given.get("result_storage_key") is not None
        unless = elsewhere or get_current_settings().tasks.default_no_cache
        if not unless and given.get("cache_policy", NotSet) is NotSet:
            given["cache_policy"] = TargetInputs() + TASK_SOURCE
    return given


def _locked(policy: Any, lock: Lock) -> Any:
    """A cache policy that takes a lock before it looks up a result; None without a policy."""
    if lock is None or not isinstance(policy, CachePolicy):
        return policy
    locks = BucketLocks(lock) if isinstance(lock, str) else lock
    return policy.configure(lock_manager=locks, isolation_level=IsolationLevel.SERIALIZABLE)


def _persisting(fn: Any, progress: bool = False) -> Any:
    """Wrap a function (of any kind) so that it persists the targets in its return value."""
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(_persisting(fn.__func__, progress))
    if inspect.isasyncgenfunction(fn):
        run = _asyncgen(fn)
    elif inspect.isgeneratorfunction(fn):
        run = _generator(fn)
    elif inspect.iscoroutinefunction(fn):
        run = _coroutine(fn, progress)
    else:
        run = _function(fn, progress)
    functools.update_wrapper(run, fn)
    if not hasattr(fn, "__name__"):
        run.__name__ = run.__qualname__ = type(fn).__name__
    return run


def _function(fn: Any, progress: bool) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        noted = begin()
        with shown(progress), watched(fn):
            value = fn(*args, **kwargs)
            resume(noted)
            value = _stored(value)
        end()
        return value

    return run


def _coroutine(fn: Any, progress: bool) -> Any:
    async def run(*args: Any, **kwargs: Any) -> Any:
        noted = begin()
        with shown(progress), watched(fn):
            value = await fn(*args, **kwargs)
            resume(noted)
            value = await asyncio.to_thread(_stored, value)
        end()
        return value

    return run


def _generator(fn: Any) -> Any:
    def run(*args: Any, **kwargs: Any) -> Generator[Any, None, Any]:
        begin()
        values = fn(*args, **kwargs)
        with watched(fn), contextlib.closing(values):
            try:
                while True:
                    yield _stored(next(values))
            except StopIteration as end:
                return _stored(end.value)

    return run


def _asyncgen(fn: Any) -> Any:
    async def run(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        begin()
        with watched(fn):
            async with contextlib.aclosing(fn(*args, **kwargs)) as values:
                async for value in values:
                    yield await asyncio.to_thread(_stored, value)

    return run


def _stored(value: Any) -> Any:
    """The value, with its targets persisted; raises now where the serializer would only log a failure."""
    if isinstance(value, (State, PrefectFuture)):
        # Prefect looks into these itself; the targets of a state's data are persisted all the same.
        _persist(resources_in(getattr(value, "data", None)))
        return value
    context = TaskRunContext.get()
    store = context.result_store if context is not None and context.persist_result else None
    if store is not None and isinstance(store.serializer, CprSerializer):
        pack(value, sign=sign)
    else:
        _persist(resources_in(value))
    return value


def _persist(resources: list[Storable]) -> None:
    persist_all(resources)
    sign(resources)
