"""Private parts of Prefect that cpr uses; each fact has a test in test_prefect_facts.py."""

from __future__ import annotations

from typing import Any

__all__ = [
    "cache_key_fn_of",
    "ends_others",
    "function_of",
    "has_left",
    "is_detached",
    "refreshes",
    "source_of",
]


def source_of(task: Any) -> str | None:
    """The source of a task's function, which travels with the task to every worker."""
    source = getattr(task, "source_code", None)
    return source if isinstance(source, str) else None


def cache_key_fn_of(policy: Any) -> Any:
    """The function in the policy that Prefect makes from a `cache_key_fn`; None for other policies."""
    return getattr(policy, "cache_key_fn", None)


def function_of(value: Any) -> Any:
    """The function of a task or a flow; None for anything else."""
    is_prefects = any(str(cls.__module__).partition(".")[0] == "prefect" for cls in type(value).__mro__)
    return getattr(value, "fn", None) if is_prefects else None


def refreshes(transaction: Any) -> bool:
    """Whether a run must ignore stored results (`refresh_cache`)."""
    return bool(getattr(transaction, "overwrite", False))


def ends_others(transaction: Any) -> bool:
    """Whether a transaction is about to store the results of its children, before its own."""
    return any(
        getattr(one.state, "name", "") in {"PENDING", "ACTIVE", "STAGED"}
        for one in getattr(transaction, "children", ())
    )


def has_left(context: Any) -> bool:
    """Whether the context of a run, or a transaction, was entered and left."""
    return getattr(context, "_token", True) is None


def is_detached(flow_context: Any) -> bool:
    """Whether a flow's context is a copy in another process, such as a Dask worker."""
    return bool(getattr(flow_context, "detached", False))
