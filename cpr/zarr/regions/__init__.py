"""Regions of stored Zarrs, which count in cache keys by the chunks that they touch."""
