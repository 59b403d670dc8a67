"""A server's variables in os.environ, so that child processes and Dask workers find it too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def exported(variables: Mapping[str, str], hide: tuple[str, ...]) -> Iterator[None]:
    """Have these variables, and none that begins with what is to be hidden, until the block is left."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(hide):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
