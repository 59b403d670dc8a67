"""Broken variants of the library: `CPR_MUTANT=NAME pytest -p tests.faults.mutants`.

Each one is a mistake that code like this is known for. test_mutants.py makes sure that the tests notice.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

MUTANTS: dict[str, Callable[[], None]] = {}


def mutant(apply: Callable[[], None]) -> Callable[[], None]:
    MUTANTS[apply.__name__] = apply
    return apply


def pytest_configure(config: pytest.Config) -> None:
    if name := os.environ.get("CPR_MUTANT"):
        MUTANTS[name]()


def _pass_over(check: str, *modules: str) -> None:
    """Have some modules check nothing. A check that has moved elsewhere would be passed over by nobody."""
    for name in modules:
        module = importlib.import_module(name)
        assert hasattr(module, check), f"{name} has no {check} any more: name the module that has"
        setattr(module, check, lambda *_: None)


@mutant
def plain_open() -> None:
    """`with fs.open(url, "wb")` publishes what there is when the body raises."""
    package = importlib.import_module("cpr.io")
    module = importlib.import_module("cpr.io.publishing")
    from cpr.io.filesystems import filesystem
    from cpr.io.urls import protocol_of

    class Plain(module.HashingSink):  # type: ignore[name-defined,misc]
        def write(self, data: Any) -> int:
            self.file.write(data)
            return int(super().write(data))

    @contextmanager
    def writing(url: str, algorithm: str | None = None, create: bool = False) -> Iterator[Any]:
        fs, path = filesystem(url)
        if protocol_of(url) == "file":
            os.makedirs(os.path.dirname(path), exist_ok=True)
        with fs.open(path, "wb") as file:
            plain = Plain(algorithm)
            plain.file = file
            yield plain
        module.put_blocks(url, plain.block_digests)

    package.writing = writing


@mutant
def no_hash_check() -> None:
    """What arrives is decoded and given out, whatever it is."""
    from cpr import io
    from cpr.io.block_digests import VerifiedFile
    from cpr.verified_reading import StoredResult, decode_file

    def read(self: Any, decode: Any = None) -> Any:
        with io.reading(self.url) as file:
            return decode_file(self.url, file, decode or self.format.decode)

    StoredResult.read = read  # type: ignore[method-assign]
    VerifiedFile._expect = lambda *_: None  # type: ignore[method-assign]


@mutant
def no_block_check() -> None:
    """Wholes are verified, parts are not."""
    from cpr.io.block_digests import VerifiedFile

    VerifiedFile._expect = lambda *_: None  # type: ignore[method-assign]


@mutant
def size_only() -> None:
    """An object of the same name and size is taken for the same."""
    from cpr import io
    from cpr.storing import Publication

    def find_equal(_: Any, url: str, ours: Any) -> bool:
        there = io.lookup(url)
        return there is not None and ours.nbytes == there.nbytes

    Publication.find_equal = find_equal  # type: ignore[method-assign]


@mutant
def cached_listing() -> None:
    """What a store has told once it is not asked again."""
    from cpr.io.stores.fsspec import FsspecStore
    from cpr.io.stores.local import LocalStore
    from cpr.io.stores.s3 import S3Store

    def remembering(ask: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        told: dict[str, Any] = {}

        def answer(self: Any, path: str) -> Any:
            if path not in told:
                told[path] = ask(self, path)
            return told[path]

        return answer

    for store in (FsspecStore, LocalStore, S3Store):
        store.find = remembering(store.find)  # type: ignore[method-assign]
        store.stat = remembering(store.stat)  # type: ignore[method-assign]


@mutant
def importing_decoder() -> None:
    """What a record names is imported."""
    from cpr.records import class_names as classes
    from cpr.records import registry
    from cpr.records import unpack as unpacking

    def importing(ask: Callable[..., Any]) -> Callable[..., Any]:
        def found(name: Any, *arguments: Any) -> Any:
            with suppress(ImportError, ValueError):
                importlib.import_module(str(name).partition(":")[0])
            return ask(name, *arguments)

        return found

    registry.lookup = importing(registry.lookup)
    classes.find_class = importing(classes.find_class)
    for module in (unpacking, classes):
        if hasattr(module, "find_class"):
            module.find_class = classes.find_class


@mutant
def no_abort() -> None:
    """What has failed is left where it is."""
    from cpr.io.stores.local import LocalUpload
    from cpr.io.stores.s3_upload import S3Upload

    S3Upload.abort = lambda self, timeout=None: None  # type: ignore[method-assign]
    LocalUpload.abort = lambda self, timeout=None: None  # type: ignore[method-assign]


@mutant
def trusting_records() -> None:
    """A record may name any place."""
    _pass_over(
        "require_safe",
        "cpr.io.url_policy",
        "cpr.predecessor.results_without_checksum",
        "cpr.records.record_fields",
        "cpr.records.scalars",
    )


@mutant
def no_memory_limit() -> None:
    """Memory is taken for whatever a file claims."""
    _pass_over(
        "require_memory",
        "cpr.data.memory",
        "cpr.numpy.npy",
        "cpr.image.reading",
        "cpr.parquet.table",
        "cpr.zarr.reading",
    )


@mutant
def chatty_errors() -> None:
    """What a client raised, with its endpoint and keys, hangs on the error."""
    failures = importlib.import_module("cpr.io.error_translation")

    @contextmanager
    def translate_errors(url: str, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise failures._failure(url, doing, error) from error

    failures.translate_errors = translate_errors
