"""Alias of `cpr.prefect.cache_keys`, kept because flows import it by this name."""

from cpr.prefect.cache_keys import hash_objects, task_input_hash

__all__ = ["hash_objects", "task_input_hash"]
