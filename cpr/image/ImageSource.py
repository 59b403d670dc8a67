"""Image files as input: TIFF, and microscope formats through bioio."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np

from cpr import io
from cpr.data.argument_types import Array, ImageSourceArguments, Path
from cpr.data.image_metadata import Metadata
from cpr.errors import CprError
from cpr.format import Region, naming, unusable
from cpr.image import microscopes
from cpr.image.foreign import ForeignTiff
from cpr.image.image import Image
from cpr.image.page_index import is_tiff
from cpr.io.parallel_map import parallel_map
from cpr.previews.models import Preview
from cpr.records.registry import register
from cpr.Source import Source

__all__ = ["ImageSource"]


_AT_ONCE = 16


def _begins_as_tiff(source: ImageSource) -> bool:
    with source._ranged() as file:  # noqa: SLF001
        return is_tiff(file)


@register
class ImageSource(Image, Source):
    """An existing image file: TIFF with one or more pages, ImageJ or OME; or .czi, .nd2, .lif.

    Options of `from_path`: `image` for one of several images in the file, by number or name, and
    `description=False` to read its pages one after the other, whatever the file says of them. `metadata` and
    `resolution` replace what the file says.

    A name needs no extension: some instruments give none. Where a pattern of `glob` matches such names beside
    others, their first bytes tell whether they are TIFFs; a `Makefile` there is a file of another kind.

    Files of microscopes (.czi, .nd2, .lif) are read by bioio, from local paths, where that and its reader for
    them are installed: `pip install bioio bioio-czi`. `image` then is one of its scenes.

    >>> cpr.ImageSource.from_path("s3://bucket/raw/embryo.ome.tif", image=1).get_name()
    'embryo'
    """

    format_class = ForeignTiff

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[ImageSourceArguments]) -> Self: ...

    def get_data(self, cache: bool = False, region: Region | None = None) -> Array:
        """The pixels, or a region; for microscope formats as bioio reads them, without axes of length 1.

        Args:
            cache: hold the data until this object goes away.
            region: only this part, as numpy's basic indexing writes it; little more than that is read.

        Raises:
            ResourceNotFoundError: no such object.
            SourceChangedError: another version is there than the one that was first asked for.
            DecodeError: the object is not of this format, or damaged.
            MissingDependencyError: bioio, or its reader for this kind of file, is not installed.
            TransferError: the store refused or failed.
        """
        if self._cached is not None or not microscopes.is_of_microscope(self.ext):
            found: Array = super().get_data(cache, region)
            return found
        with self._of_microscope() as path:
            data = microscopes.read(path, self.ext, self.format.image, region)
        return self._keep(data) if cache and region is None else data

    @contextmanager
    def _of_microscope(self) -> Iterator[str]:
        """The path of a local file, checked to be the same version before and after it is read."""
        microscopes.require_reader(self.url, self.ext)
        with self._pinned() as pinned, naming(self.url):
            try:
                yield pinned.path
            except CprError:
                pinned.require_unchanged()
                raise
            pinned.require_unchanged()

    def _layout(self) -> tuple[tuple[int, ...], np.dtype[Any], Metadata]:
        if self._inspected is None and microscopes.is_of_microscope(self.ext):
            with self._of_microscope() as path:
                self._inspected = microscopes.inspect(path, self.ext, self.format.image)
        return super()._layout() if self._inspected is None else self._inspected

    @classmethod
    def images(cls, path: str | os.PathLike[str], **options: Any) -> list[Self]:
        """A source for each image in a file (series, positions, a thumbnail); reads its directories.

        Args:
            path: as for `from_path`.
            **options: as for `from_path`, the same for all.

        Raises as `get_data`.
        """
        source = cls.from_path(path, **options)
        if microscopes.is_of_microscope(source.ext):
            with source._of_microscope() as local:  # noqa: SLF001
                found = microscopes.images(local, source.ext)
        else:
            with source._ranged() as file:  # noqa: SLF001
                found = source._decode(file, source.format.images)  # noqa: SLF001
        images = [cls.from_path(path, image=image, **options) for image in found]
        for image in images:
            image._version = source.version()  # noqa: SLF001
        return images

    @classmethod
    def _of_another_kind(cls, sources: list[Self]) -> list[Self]:
        # Beside TIFFs with an extension, Makefile and README are likelier than TIFFs without: a look tells.
        nameless = [source for source in sources if not source.ext]
        if len(nameless) == len(sources):
            return []
        found = parallel_map(_begins_as_tiff, nameless, _AT_ONCE)
        return [source for source, is_tiff in zip(nameless, found, strict=True) if not is_tiff]

    @classmethod
    def _split_extension(cls, file_name: str, location: str) -> tuple[str, str]:
        # Instruments also write TIFFs without any extension.
        if "." not in file_name:
            return file_name, ""
        name, ext = super()._split_extension(file_name, location)
        if microscopes.is_of_microscope(ext):
            microscopes.require_reader(io.join(location, file_name), ext)
        return name, ext

    @classmethod
    def _make_format(cls, ext: str, options: Mapping[str, Any]) -> Any:
        if microscopes.is_of_microscope(ext) and options.get("description", True) is not True:
            raise unusable(
                "only TIFFs have pages to be read without what the file says of them",
                "description",
                f"True with {ext}",
                options["description"],
                "leave it out",
            )
        return super()._make_format(ext, options)

    def preview(self) -> Preview | None:
        """A thumbnail; small files are read whole, of large ones a few planes. Raises as `get_data`."""
        if self._cached is None:
            with self._pinned() as pinned:
                is_small = pinned.nbytes <= io.SMALL_BYTES
            if not is_small:
                return self._sampled()
        data = self.get_data()
        return self._picture(lambda region: data[region])  # by the axes that the file names

    def get_dask(self) -> Any:
        """The image as a dask array, one chunk per plane; each is read when it is computed.

        Nothing of the pixels is read now. Every plane is of the version that this source has now.

        Raises MissingDependencyError without dask, and as `get_data`.
        """
        self.version()
        self._layout()
        # This source may forget its version (`confirm_version`): what the array reads of may not.
        own = copy.copy(self)
        return super(ImageSource, own).get_dask()

    def _known(self) -> bool:
        return False
