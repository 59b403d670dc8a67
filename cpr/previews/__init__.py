"""Thumbnails and table heads, for people."""
