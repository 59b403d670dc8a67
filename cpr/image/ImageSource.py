"""TIFF files as input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self, Unpack

from cpr import io
from cpr.data.typed import Array, ImageSourceArguments, Path
from cpr.errors import UnsupportedExtensionError
from cpr.format import Region
from cpr.image.foreign import ForeignTiff
from cpr.image.image import Image
from cpr.image.page_index import is_tiff
from cpr.io.parallel import parallel_map
from cpr.previews.models import Preview
from cpr.records.registry import register
from cpr.Source import Source

__all__ = ["ImageSource"]


# Files that are no TIFFs, and what reads them: https://bioio-devs.github.io/bioio
_OF_MICROSCOPES = {".czi": "bioio-czi", ".nd2": "bioio-nd2", ".lif": "bioio-lif"}

_AT_ONCE = 16


def _begins_as_tiff(source: ImageSource) -> bool:
    with source._ranged() as file:  # noqa: SLF001
        return is_tiff(file)


@register
class ImageSource(Image, Source):
    """A TIFF that somebody else wrote: one page or many, ImageJ or OME.

    Options of `from_path`: `image` for one of several images in the file, by number or name, and
    `description=False` to read its pages one after the other, whatever the file says of them. `metadata` and
    `resolution` replace what the file says.

    A name needs no extension: some instruments give none. Where a pattern of `glob` matches such names beside
    others, their first bytes tell whether they are TIFFs; a `Makefile` there is a file of another kind.

    >>> cpr.ImageSource.from_path("s3://bucket/raw/embryo.ome.tif", image=1).get_name()
    'embryo'
    """

    format_class = ForeignTiff

    if TYPE_CHECKING:

        @classmethod
        def from_path(cls, path: Path, **options: Unpack[ImageSourceArguments]) -> Self: ...  # type: ignore[override]

        def get_data(self, cache: bool = False, region: Region | None = None) -> Array: ...

    @classmethod
    def images(cls, path: str | os.PathLike[str], **options: Any) -> list[Self]:
        """A source for each image in a file: series, positions, a thumbnail; its directories are read.

        Args:
            path: as for `from_path`.
            **options: as for `from_path`, the same for all.

        Raises as `get_data`.
        """
        source = cls.from_path(path, **options)
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
        try:
            return super()._split_extension(file_name, location)
        except UnsupportedExtensionError as error:
            if plug_in := _OF_MICROSCOPES.get(os.path.splitext(file_name)[1].lower()):
                error.remedy = (
                    f"bioio reads it (pip install bioio {plug_in}): "
                    f"bioio.BioImage({io.join(location, file_name)!r}).get_image_dask_data()"
                )
            raise

    def preview(self) -> Preview | None:
        """A small picture: a small file is read, of a large one some planes. Raises as `get_data`."""
        if self._cached is None:
            with self._pinned() as pinned:
                is_small = pinned.nbytes <= io.SMALL_BYTES
            if not is_small:
                return self._sampled()
        data = self.get_data()
        return self._picture(lambda region: data[region])  # by the axes that the file names

    def _known(self) -> bool:
        return False
