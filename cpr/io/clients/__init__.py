"""The clients of stores: one module for each library, the only place that uses its private attributes.

Each fact about a library that these modules rest on has a test in `tests/io/test_library_facts.py`, which
fails when an upgrade changes it.
"""
