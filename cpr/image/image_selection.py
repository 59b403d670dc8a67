"""The choice of one of several images in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cpr.data.user_warnings import warn_user
from cpr.format import unusable

__all__ = ["PAGES_ALONE", "ImageSelection", "SeveralImagesWarning", "chosen", "labels", "listed"]

PAGES_ALONE = "to read its pages one after the other: from_path(url, description=False)"
_MOST_NAMES = 10


class SeveralImagesWarning(UserWarning):
    """A file holds several images, and none was chosen; the first one is used."""


class ImageSelection(NamedTuple):
    """The choice of an image in a file, and how its axes are found.

    Attributes:
        image: its number, from 0, or its name; None for the first, with a warning if there are others.
        described: whether what the file says of its axes counts, or its pages alone.
    """

    image: int | str | None
    described: bool = True


def chosen(names: Sequence[str], image: int | str | None) -> int:
    """The number of the chosen image. Raises FormatError if there is none of this number or name.

    Args:
        names: of all images in the file, in their order; "" for one without.
        image: its number or name; None for the first, with a warning if there are others.
    """
    if image is None:
        if len(names) > 1:
            warn_user(
                f"the file holds {len(names)} images ({listed(names)}), of which the first is taken: "
                "say image=0, or another number or name; ImageSource.images(url) gives all of them",
                SeveralImagesWarning,
            )
        return 0
    if isinstance(image, str) and names.count(image) == 1:
        return names.index(image)
    if isinstance(image, int) and 0 <= image < len(names):
        return image
    expected = f"a number below {len(names)}, or a name of one image: {listed(names)}"
    raise unusable("the file has no such image", "image", expected, image, "see ImageSource.images(url)")


def labels(names: Sequence[str]) -> list[int | str]:
    """The values of the option `image` for a file's images: a name if it is unique, else a number."""
    return [name if name and names.count(name) == 1 else number for number, name in enumerate(names)]


def listed(names: Sequence[str]) -> str:
    """The names of a file's first images, for error messages."""
    shown = [repr(name) if name else str(number) for number, name in enumerate(names[:_MOST_NAMES])]
    return ", ".join(shown) + (" ..." if len(names) > _MOST_NAMES else "")
