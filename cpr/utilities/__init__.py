"""Package of the old import path of `cpr.prefect.cache_keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr._lazy import make_lazy

if TYPE_CHECKING:
    from cpr.prefect.cache_keys import hash_objects, task_input_hash

__all__ = ["hash_objects", "task_input_hash"]

make_lazy(__name__, dict.fromkeys(__all__, "cpr.prefect.cache_keys"))
