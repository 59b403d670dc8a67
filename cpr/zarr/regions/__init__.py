"""Regions of stored Zarrs, which count in cache keys with what they touch alone."""
