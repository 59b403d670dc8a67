"""The name by which `cpr.prefect.cache_keys` has always been imported."""

from cpr.prefect.cache_keys import hash_objects, task_input_hash

__all__ = ["hash_objects", "task_input_hash"]
