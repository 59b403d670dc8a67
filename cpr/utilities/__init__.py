"""Cache keys: `task_input_hash` and `hash_objects`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpr._lazy import make_lazy

if TYPE_CHECKING:
    from cpr.utilities.utilities import hash_objects, task_input_hash

__all__ = ["hash_objects", "task_input_hash"]

make_lazy(
    __name__,
    {"hash_objects": "cpr.utilities.utilities", "task_input_hash": "cpr.utilities.utilities"},
)
