"""Everything that imports Prefect: tasks, cache keys, serializer, locks, artifacts."""
