"""The cache policies of `cpr.task`, which make keys from the content of arguments."""

from __future__ import annotations

import logging
import types
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from prefect.cache_policies import CachePolicy, CompoundCachePolicy, FlowParameters, Inputs, RunId, TaskSource
from prefect.context import TaskRunContext

from cpr.errors import CprError
from cpr.prefect.cache_keys import describe_run
from cpr.prefect.canonical_form import Describer
from cpr.prefect.description_graph import digest
from cpr.prefect.packages import names_of_packages
from cpr.prefect.prefect_internals import cache_key_fn_of
from cpr.prefect.redaction import shown_url
from cpr.prefect.run_log import first_time, log, uncached
from cpr.records.pack import resources_in
from cpr.Source import Source

__all__ = ["SourceVersions", "TargetInputs", "seeing_sources", "warn_of_unseen_sources"]


@dataclass
class TargetInputs(CachePolicy):
    """Cache policy: the key names the content of the task's arguments, resources by `identity()`.

    Equal for equal content whether it is in memory or stored, on any worker (see `hash_objects`). The name
    of the task's function takes part, so that two tasks with the same arguments do not share results, and
    what it uses besides its arguments: values of its closure, constants and functions of its module (see
    `cpr.prefect.used_code`). Its own code does not: add Prefect's TASK_SOURCE for that. Computing a
    key writes nothing and reads no data; sources are asked for their versions once.

    An argument that has no content to be named (a lock, an open file) makes the task run uncached, with a
    warning that names it.

    Args:
        exclude: names that do not matter, of arguments or of what the function uses;
            `TargetInputs() - "verbose"` says the same.
        sources: "version" counts sources with what the store says of them (ETag, generation, or size and
            time), "path" by their URLs and options alone, and asks no store.
        uses: installed packages whose version counts as well; without a version, their source.

    >>> policy = TargetInputs() + TASK_SOURCE - "verbose"
    """

    exclude: list[str] = field(default_factory=list)
    sources: Literal["version", "path"] = "version"
    uses: Sequence[types.ModuleType | str] = ()

    def __post_init__(self) -> None:
        self.uses = names_of_packages(self.uses)
        if self.sources not in ("version", "path"):
            raise ValueError(f"sources count by 'version' or 'path', not {self.sources!r}")

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> str | None:
        """Compute the key. Raises FormatError for an argument whose content cannot be hashed."""
        try:
            return digest(
                describe_run(task_ctx, inputs, self.exclude, self.sources == "version", map(str, self.uses))
            )
        except CprError as error:
            uncached(task_ctx, error, alone=getattr(task_ctx.task, "cache_policy", None) is self)
            return None

    def __sub__(self, other: str) -> TargetInputs:
        if not isinstance(other, str):
            raise TypeError("only names of arguments can be left out of a cache policy")
        return replace(self, exclude=[*self.exclude, other])

    def __add__(self, other: CachePolicy) -> CachePolicy:
        return _Together.of(super().__add__(other))


@dataclass
class _Together(CompoundCachePolicy):
    """A sum of policies in which `- "argument"` also reaches TargetInputs; Prefect's own sum skips it."""

    @classmethod
    def of(cls, policy: CachePolicy) -> CachePolicy:
        if type(policy) is not CompoundCachePolicy:
            return policy
        return cls(policy.key_storage, policy.isolation_level, policy.lock_manager, policy.policies)

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        try:
            return super().compute_key(task_ctx, inputs, flow_parameters, **kwargs)
        except CprError:  # said already
            if getattr(task_ctx.task, "cache_policy", None) is self:
                return None
            raise

    def __sub__(self, other: str) -> CachePolicy:
        return replace(self, policies=[policy - other for policy in self.policies])

    def __add__(self, other: CachePolicy) -> CachePolicy:
        return _Together.of(super().__add__(other))


@dataclass
class SourceVersions(CachePolicy):
    """Cache policy: the key names the versions of the sources among a task's arguments; None without such.

    Prefect's INPUTS hashes a source by its location, not by its content. So `cpr.task` adds this policy to
    Prefect's own ones.

    >>> policy = prefect.cache_policies.INPUTS + SourceVersions()
    """

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> str | None:
        """Compute the key. Raises ResourceError for a source that cannot be asked."""
        sources = [one for one in resources_in(list((inputs or {}).values())) if isinstance(one, Source)]
        try:
            return digest(Describer().describe(sources, "the sources")) if sources else None
        except CprError as error:
            uncached(task_ctx, error, alone=False)
            return None


def seeing_sources(policy: Any) -> Any:
    """Extend a cache policy so that it notices changed sources, if Prefect's own would not."""
    if isinstance(policy, CachePolicy) and _is_blind(policy):
        return _Together.of(policy + SourceVersions())
    return policy


def _is_blind(policy: Any) -> bool:
    """Whether a policy is Prefect's, makes keys that outlive a run, and ignores versions of sources."""
    parts = policy.policies if isinstance(policy, CompoundCachePolicy) else [policy]
    return any(isinstance(one, (FlowParameters, Inputs, TaskSource)) for one in parts) and not any(
        isinstance(one, (TargetInputs, SourceVersions, RunId)) or cache_key_fn_of(one) is not None
        for one in parts
    )


def warn_of_unseen_sources() -> None:
    """Warn, once per task, if results of the running task stay cached when a source changes."""
    context = TaskRunContext.get()
    if context is None or not _is_blind(context.task.cache_policy):
        return
    unseen = [one for one in resources_in(list(context.parameters.values())) if isinstance(one, Source)]
    if unseen and first_time(("unseen", context.task.task_key)):
        log(
            logging.WARNING,
            "The cache policy of task %r does not see when %s changes: its results stay cached. "
            "Remedy: cpr.task, or cache_policy=cpr.TargetInputs() + TASK_SOURCE",
            context.task.name,
            shown_url(unseen[0].get_path()),
        )
