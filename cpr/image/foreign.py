"""The format of TIFF files that were not written by cpr."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cpr.format import ReadableFile, unusable
from cpr.image.image_selection import ImageSelection, labels
from cpr.image.microscopes import EXTENSIONS
from cpr.image.reading import opened, series_of
from cpr.image.series import names_of
from cpr.image.tiff import Tiff

__all__ = ["ForeignTiff"]


# Of files that are TIFFs, whatever they are called: microscopes and slide scanners have names of their own.
_RELATIVES = (*".tf2 .tf8 .btf .stk .lsm .flex .svs .qptiff .ndpi .scn .bif".split(), "")


@dataclass(frozen=True)
class ForeignTiff(Tiff):
    """TIFF files of any origin; microscope formats have the same options and are read by bioio.

    Attributes:
        image: which of several images in the file, by number (from 0) or name; None for the first, with a
            warning if there are others.
        description: whether what the file says of its axes counts (ImageJ's lines, OME-XML); False reads
            its pages one after the other.
    """

    extensions: ClassVar[tuple[str, ...]] = (*Tiff.extensions, *_RELATIVES, *EXTENSIONS)

    image: int | str | None = None
    description: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (
            self.image is None or isinstance(self.image, str) or (type(self.image) is int and self.image >= 0)
        ):
            raise unusable("not an image of a file", "image", "a number from 0 on, or a name", self.image)

    @property
    def _choice(self) -> ImageSelection:
        return ImageSelection(self.image, self.description)

    def images(self, file: ReadableFile) -> list[int | str]:
        """The values of the option `image` for the file's images: a name if it is unique, else a number."""
        with opened(file, self.description) as tiff:
            series_of(file, tiff, ImageSelection(0, self.description))
            return labels(names_of(tiff))
