"""Folders of Parquet files as one table, as Spark, dask, polars, DuckDB and pandas write them.

As `pandas.read_parquet` has it: every file is part of it, in the order of the paths, except where a name in
its path begins with `_` or `.`; folders called `column=value` are columns, unless the files have them too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import unquote

import pandas as pd

from cpr import io
from cpr.data.memory import Expansion, Room, require_memory
from cpr.errors import CprError, DecodeError, SourceChangedError
from cpr.format import naming
from cpr.io.error_translation import translate_errors
from cpr.io.hashing import hex16
from cpr.io.objects import open_store
from cpr.io.parallel_map import parallel_map
from cpr.io.ranged_file import RangedFile
from cpr.io.reading import ranged_file
from cpr.io.version_pinning import Pinned, Version, version_text
from cpr.parquet.table import Reading, claimed_bytes, coded_fields, opened, pyarrow, rows_at_once, to_pandas
from cpr.parquet.watched_file import WatchedFile

__all__ = ["Folder", "is_of_folder"]

_AT_ONCE = 16
_FOOTER_BLOCK, _FOOTER_BLOCKS = 64 << 10, 4
# A file of so much is fetched in one request, of larger ones blocks, side by side where the store is far.
_WHOLE_BYTES = 8 << 20
_BLOCK, _BLOCKS = 1 << 20, 8
# Files that are begun before the one whose turn it is has been decoded: as many as are so large together.
_AHEAD_BYTES = 48 << 20
_ROWS = 131_072
_HIDDEN = ("_", ".")


class Folder:
    """One version of a folder: all files of the table, with their versions.

    Attributes:
        url: of the folder.
        parts: the files, by their path in it, in order.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        start = len(io.join(url, ""))
        with translate_errors(url, "list"):
            store, path = open_store(url)
            found = [entry.url[start:].replace("\\", "/") for entry in store.walk(path)]
        names = sorted(name for name in found if not _is_hidden(name))
        pins = parallel_map(lambda name: io.pin(io.join(url, name)), names, _AT_ONCE)
        self.parts: dict[str, Pinned] = dict(zip(names, pins, strict=True))

    def version(self) -> Version:
        """The versions of all files together; empty if there are none."""
        if not self.parts:
            return {}
        lines = [[name, sorted(pinned.version.items())] for name, pinned in self.parts.items()]
        return {"files": len(lines), "listing": hex16(json.dumps(lines).encode("utf-8", "surrogatepass"))}

    def require(self, version: Version | None) -> None:
        """Raise SourceChangedError unless this is the expected version."""
        if version and dict(version) != self.version():
            raise SourceChangedError(
                "the folder is not the version any more that took part in the cache key",
                url=self.url,
                expected=version_text(version),
                actual=version_text(self.version()),
                remedy="run again: a new source, from from_path(), takes the folder as it is now",
            )

    def read(self) -> pd.DataFrame:
        """Read the table.

        Raises DecodeError for a file that is not Parquet or has a column that the first has not (pandas
        leaves such a column out), SourceChangedError for one that was replaced meanwhile.
        """
        pa, _ = pyarrow()
        with ExitStack() as held:
            for pinned in self.parts.values():
                held.enter_context(pinned.held())
            columns, rows, coded = self._looked_through()
            # Of a column that is in the files as well, as polars writes it, pyarrow would find two types.
            paths = [_without(columns, name) for name in self.parts]
            parts = dict(zip(paths, self.parts.values(), strict=True))
            files = _Files(parts, dict(zip(paths, coded, strict=True)))
            try:
                with naming(self.url), Reading():
                    dataset = _dataset(files)
                    table, batches = Expansion("the table"), []
                    for batch in dataset.to_batches(
                        batch_size=rows, batch_readahead=2, fragment_readahead=files.at_once()
                    ):
                        table.grown(batch.nbytes)
                        batches.append(batch)
                    return to_pandas(pa.Table.from_batches(batches, dataset.schema), "each of its files")
            except DecodeError:
                files.raise_failure()
                raise

    def _looked_through(self) -> tuple[frozenset[str], int, list[frozenset[int]]]:
        """From the footers: the columns, batch sizes for decoding, and coded fields of each file.

        Raises DecodeError for files that make no one table.
        """
        looks = list(parallel_map(_look, self.parts.values(), _AT_ONCE))
        first: frozenset[str] | None = None
        claimed, rows = 0, _ROWS
        for (name, pinned), (columns, nbytes, at_once, _) in zip(self.parts.items(), looks, strict=True):
            first = columns if first is None else first
            if more := sorted(columns - first):
                folder = io.join(self.url, "**/*.parquet")
                raise DecodeError(
                    "a file has columns that the first file of the folder does not have",
                    url=pinned.url,
                    expected=ascii(sorted(first))[:200],
                    actual=ascii(more)[:200],
                    remedy=f"pandas.concat(part.get_data() for part in ParquetSource.glob({folder!r}))",
                )
            claimed += nbytes
            require_memory(claimed, f"the table, up to {name}")
            rows = min(rows, at_once)
        return first or frozenset(), rows, [look[-1] for look in looks]


def is_of_folder(version: Version) -> bool:
    """Whether a version is that of a folder."""
    return "files" in version


def _look(pinned: Pinned) -> tuple[frozenset[str], int, int, frozenset[int]]:
    """Columns, size in memory, batch size and coded fields of a file, from its footer."""
    file = RangedFile(pinned.url, pinned.fetch, pinned.nbytes, _FOOTER_BLOCK, _FOOTER_BLOCKS)
    try:
        with naming(pinned.url), Reading(), file:
            parquet = opened(file, whole=False)
            return (
                frozenset(parquet.schema_arrow.names),
                claimed_bytes(parquet),
                rows_at_once(parquet, _ROWS),
                coded_fields(parquet.schema_arrow),
            )
    except DecodeError:
        if file.failure is not None:
            raise file.failure from None
        raise


def _dataset(files: _Files) -> Any:
    import pyarrow.dataset as ds
    import pyarrow.fs

    options = ds.FileSystemFactoryOptions(
        partition_base_dir="", partitioning=ds.HivePartitioning.discover(infer_dictionary=True)
    )
    filesystem = pyarrow.fs.PyFileSystem(files.handler())
    format_ = ds.ParquetFileFormat()
    return ds.FileSystemDatasetFactory(filesystem, list(files.parts), format_, options).finish()


class _Files:
    """Opens the files for pyarrow.

    Args:
        parts: by their path.
        coded: by the same, the fields whose texts stay numbers in a dictionary.
    """

    def __init__(self, parts: Mapping[str, Pinned], coded: Mapping[str, frozenset[int]]) -> None:
        self.parts = parts
        self.coded = coded
        self.room = Room("the table")
        self._failure: CprError | None = None

    def raise_failure(self) -> None:
        """Raise the first error of a read, which pyarrow replaces with an error of its own."""
        if self._failure is not None:
            raise self._failure from None

    def at_once(self) -> int:
        """How many files to read in parallel."""
        largest = max((pinned.nbytes for pinned in self.parts.values()), default=0)
        return max(2, min(_AT_ONCE, _AHEAD_BYTES // max(1, largest)))

    def open(self, path: str) -> RangedFile:
        """Open a file; only pyarrow holds it, so that its blocks are freed when pyarrow is done."""
        pinned = self.parts[path]
        block = _WHOLE_BYTES if pinned.nbytes <= _WHOLE_BYTES else _BLOCK
        return ranged_file(pinned, block, _BLOCKS, partial(self._fetch, pinned))

    def _fetch(self, pinned: Pinned, start: int, stop: int) -> bytes | memoryview:
        try:
            with translate_errors(pinned.url, "read"):
                return pinned.fetch(start, stop)
        except CprError as error:
            self._failure = self._failure or error
            raise

    def handler(self) -> Any:
        """The filesystem object that pyarrow opens files with."""
        import pyarrow as pa
        import pyarrow.fs

        files = self

        class Handler(pyarrow.fs.FileSystemHandler):  # type: ignore[misc]
            def get_type_name(self) -> str:
                return "cpr"

            def normalize_path(self, path: str) -> str:
                return path

            def get_file_info(self, paths: list[str]) -> list[Any]:
                kind = pyarrow.fs.FileType.File
                return [pyarrow.fs.FileInfo(path, kind, size=files.parts[path].nbytes) for path in paths]

            def open_input_file(self, path: str) -> Any:
                return pa.PythonFile(WatchedFile(files.open(path), files.room, files.coded[path]), mode="r")

            open_input_stream = open_input_file

            def _refused(self, *_: Any, **__: Any) -> Any:
                raise NotImplementedError("files are read, no more")

            get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _refused
            delete_root_dir_contents = delete_file = move = copy_file = _refused
            open_output_stream = open_append_stream = _refused

        return Handler()


def _without(columns: frozenset[str], path: str) -> str:
    """The path, with `=` hidden in folders whose column the files contain too."""
    *folders, name = path.split("/")
    shown = [
        folder.replace("=", "\x1f", 1) if unquote(folder.partition("=")[0]) in columns else folder
        for folder in folders
    ]
    return "/".join([*shown, name])


def _is_hidden(path: str) -> bool:
    return any(name.startswith(_HIDDEN) for name in path.split("/"))
