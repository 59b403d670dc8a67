"""Stores for zarr: recording digests on write, verifying them on read."""
