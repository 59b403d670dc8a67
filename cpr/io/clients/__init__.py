"""The clients of stores: one module for each library, and the only one that knows its private attributes.

Each fact about a library that these modules rest on has a test in `tests/io/test_library_facts.py`, which
fails when an upgrade changes it.
"""
