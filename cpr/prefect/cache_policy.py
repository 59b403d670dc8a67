"""The cache policy of `cpr.task`: keys that name the content of arguments."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from prefect.cache_policies import CachePolicy, CompoundCachePolicy
from prefect.context import TaskRunContext

from cpr.errors import CprError
from cpr.prefect.cache_keys import describe_run, digest
from cpr.prefect.run_log import uncached

__all__ = ["TargetInputs"]


@dataclass
class TargetInputs(CachePolicy):
    """Cache policy: the key names the content of the task's arguments, resources by `identity()`.

    Equal for equal content whether it is in memory or stored, on any worker (see `hash_objects`). The name
    of the task's function takes part, so that two tasks with the same arguments do not share results, and
    what it uses besides its arguments: values of its closure, constants and functions of its module (see
    `cpr.prefect.function_globals`). Its own code does not: add Prefect's TASK_SOURCE for that. Computing a
    key writes nothing and reads no data; sources are asked for their versions once.

    An argument that has no content to be named (a lock, an open file) makes the task run uncached, with a
    warning that names it.

    Args:
        exclude: names that do not matter, of arguments or of what the function uses;
            `TargetInputs() - "verbose"` says the same.
        sources: "version" counts sources with what the store says of them (ETag, generation, or size and
            time), "path" by their URLs and options alone, and asks no store.

    >>> policy = TargetInputs() + TASK_SOURCE - "verbose"
    """

    exclude: list[str] = field(default_factory=list)
    sources: Literal["version", "path"] = "version"

    def __post_init__(self) -> None:
        if self.sources not in ("version", "path"):
            raise ValueError(f"sources count by 'version' or 'path', not {self.sources!r}")

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - Prefect's signature
        **kwargs: Any,  # noqa: ARG002
    ) -> str | None:
        """The key. Raises FormatError, naming it, for an argument that has no content to be named."""
        try:
            return digest(describe_run(task_ctx, inputs, self.exclude, self.sources == "version"))
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
    """Several policies; `- "argument"` reaches TargetInputs, which Prefect's own sum passes over."""

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
