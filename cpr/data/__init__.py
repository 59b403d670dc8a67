"""Data models of any file format: arrays, tables, image metadata."""
