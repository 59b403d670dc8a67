"""Parquet files as input."""

from __future__ import annotations

from typing import Any, Self

from cpr.errors import ResourceNotFoundError, SourceChangedError
from cpr.format import Region
from cpr.io.version_pinning import Version
from cpr.parquet.folder import Folder, is_of_folder
from cpr.parquet.table import ForeignParquet
from cpr.records.registry import register
from cpr.Source import Source

__all__ = ["ParquetSource"]


@register
class ParquetSource(Source):
    """An existing Parquet file, or a folder of them, as a DataFrame.

    A folder is one table, as for `pandas.read_parquet`: all its files together; folders called `column=value`
    add a column. Its version is that of all its files: if one is new, gone or replaced, the source has
    changed.

    >>> cpr.ParquetSource.from_path("s3://bucket/raw/cells.parquet").get_name()
    'cells'
    >>> cpr.ParquetSource.from_path("s3://bucket/raw/plates").get_path()
    's3://bucket/raw/plates'
    """

    format_class = ForeignParquet

    @classmethod
    def _of_another_kind(cls, sources: list[Self]) -> list[Self]:
        return [source for source in sources if not source.ext]  # of folders, not of files

    @classmethod
    def _split_extension(cls, file_name: str, location: str) -> tuple[str, str]:
        # Folders have no extension, but for those of Spark and dask.
        if "." not in file_name or "=" in file_name:
            return file_name, ""
        return super()._split_extension(file_name, location)

    def get_data(self, cache: bool = False, region: Region | None = None) -> Any:
        """Read the table from the file, or from all files of the folder.

        Args:
            cache: hold the table until this object goes away.
            region: None.

        Raises as `Source.get_data`.
        """
        if self._cached is not None or region is not None:
            return super().get_data(cache, region)
        if is_of_folder(self.known_version()):
            folder = Folder(self.url)
        else:
            try:
                return super().get_data(cache)
            except ResourceNotFoundError:
                folder = Folder(self.url)
                if not folder.parts:
                    raise
        try:
            folder.require(self._version)
            self._version = folder.version()
            data = folder.read()
        except SourceChangedError:
            self._is_in_doubt = True
            raise
        return self._keep(data) if cache else data

    def _ask(self) -> Version:
        try:
            return super()._ask()
        except ResourceNotFoundError:
            if found := Folder(self.url).version():
                return found
            raise
