"""The layout of an array in a TIFF: pages in C order, and the axes that the file names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from cpr.errors import EncodeError, spelled

__all__ = ["DTYPES", "Flavour", "Layout", "leading_axes", "require_dtype", "usual_axes"]

Flavour = Literal["imagej", "ome", "plain", "empty"]

IMAGEJ_AXES = "TZCYXS"
_OME_DTYPES = {
    "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64", "complex64", "complex128",
}  # fmt: skip
_DTYPES = _OME_DTYPES | {"int64", "uint64", "float16"}
#: What an array may be of.
DTYPES = _DTYPES | {"bool"}
# What a classic TIFF can hold, less room for directories and for pixels that grow when compressed.
_CLASSIC_BYTES = (1 << 32) - (1 << 26)
_PAGE_OVERHEAD = 2048


@dataclass(frozen=True)
class Layout:
    """Shape, dtype and axes of an array, and how a TIFF stores them.

    Attributes:
        flavour: "imagej", "ome", "plain" for dtypes that neither can hold, "empty" for no elements.
        shape: of the array.
        dtype: of the array.
        file_axes: letters of the file's axes, ending in YX or YXS.
        file_shape: extents along them; the same number of elements in the same order.
        one_directory: whether only the first page has a directory, and all pixels lie behind it, as ImageJ
            wants it of 4 GiB and more, where it reads no BigTIFF.
    """

    flavour: Flavour
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    file_axes: str
    file_shape: tuple[int, ...]
    one_directory: bool = False

    @classmethod
    def of(
        cls,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        axes: str | None,
        imagej: bool | None = None,
        ome: bool = False,
        growth: float = 1.0,
    ) -> Self:
        """Decide how to store an array.

        Args:
            shape: of the array.
            dtype: of the array, in native byte order.
            axes: one letter per axis, ending in YX or YXS; None for the usual ones.
            imagej: True and False ask for ImageJ TIFF and OME-TIFF; None takes ImageJ where it can.
            ome: whether only OME-TIFF is acceptable.
            growth: how much larger than the pixels the compressed pixels may become.

        Raises EncodeError for axes that do not fit the shape, and where the flavour that was asked for
        cannot hold the array.
        """
        letters = _checked_axes(axes, shape) if axes is not None else usual_axes(shape, dtype)
        if math.prod(shape) == 0:
            return cls("empty", shape, dtype, "YX", (1, 1))
        file_axes, file_shape = _folded(letters, shape)
        layout = cls("plain", shape, dtype, file_axes, file_shape)
        flavour = layout._chosen(imagej, ome, growth)
        if flavour == "plain" and axes is not None:
            return cls(flavour, shape, dtype, letters, shape)
        one_directory = flavour == "imagej" and layout.needs_bigtiff(growth)
        return cls(flavour, shape, dtype, file_axes, file_shape, one_directory)

    def _chosen(self, imagej: bool | None, ome: bool, growth: float) -> Flavour:
        reason = self._not_imagej(growth, asked=bool(imagej))
        if imagej and not ome:
            if reason is not None:
                raise reason
            return "imagej"
        if imagej is None and not ome and reason is None:
            return "imagej"
        if self.stored_dtype.name in _OME_DTYPES:
            return "ome"
        if ome:
            raise EncodeError(
                "OME-TIFF cannot hold this dtype",
                field="dtype",
                expected=", ".join(sorted(_OME_DTYPES)),
                actual=str(self.dtype),
                remedy="convert the array, such as with array.astype('float32'), or name the file .tif",
            )
        return "plain"

    def _not_imagej(self, growth: float, asked: bool) -> EncodeError | None:
        """The reason why ImageJ cannot hold the array; None if it can."""
        name = self.stored_dtype.name
        # ImageJ shifts signed integers to show them, so they are not its own choice.
        dtypes = ("uint8", "uint16", "float32", *(("int16",) if asked else ()))
        if name not in dtypes:
            expected = f"bool, {', '.join(dtypes)}"
            return _not_for_imagej("dtype", expected, self.dtype, "array.astype('float32')")
        order = [IMAGEJ_AXES.find(letter) for letter in self.file_axes]
        if order != sorted(order) or order[0] < 0:
            expected = f"axes in the order {IMAGEJ_AXES}"
            return _not_for_imagej(
                "axes", expected, self.file_axes, "transpose it: numpy.moveaxis(array, ...)"
            )
        if self.samples > 1 and (name, self.samples) != ("uint8", 3):
            actual = f"{self.samples} samples of {name}"
            remedy = "make C an axis before Y: numpy.moveaxis(array, -1, 0)"
            return _not_for_imagej("axes", "RGB colours of uint8", actual, remedy)
        if self.needs_bigtiff(growth) and not (asked and growth == 1.0):
            return _not_for_imagej("shape", "less than 4 GiB", f"{self.nbytes} bytes", "compression=None")
        return None

    def needs_bigtiff(self, growth: float) -> bool:
        """Whether offsets may not fit into 32 bits."""
        return self.nbytes * growth + self.count * _PAGE_OVERHEAD >= _CLASSIC_BYTES

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """The dtype of the pixels in the file: a bool mask is stored as uint8, 0 and 255."""
        return np.dtype("uint8") if self.dtype == np.bool_ else self.dtype

    @property
    def has_samples(self) -> bool:
        """Whether the last axis holds interleaved colours."""
        return self.file_axes.endswith("S")

    @property
    def samples(self) -> int:
        """Number of interleaved values per pixel."""
        return self.file_shape[-1] if self.has_samples else 1

    @property
    def page_ndim(self) -> int:
        """How many trailing axes of the file make a page."""
        return 3 if self.has_samples else 2

    @property
    def page_shape(self) -> tuple[int, ...]:
        """Shape of a page: (Y, X) or (Y, X, S)."""
        return self.file_shape[-self.page_ndim :]

    @property
    def count(self) -> int:
        """Number of pages."""
        return math.prod(self.file_shape[: -self.page_ndim])

    @property
    def plane_ndim(self) -> int:
        """How many trailing axes of the array make a page."""
        return min(len(self.shape), self.page_ndim)

    @property
    def nbytes(self) -> int:
        """Size of the uncompressed pixels in bytes."""
        return math.prod(self.file_shape) * self.stored_dtype.itemsize


def _not_for_imagej(field: str, expected: str, actual: object, remedy: str) -> EncodeError:
    return EncodeError(
        "ImageJ TIFF cannot hold this array",
        field=field,
        expected=expected,
        actual=str(actual),
        remedy=f"{remedy}, or leave out imagej=True: OME-TIFF holds it",
    )


def require_dtype(dtype: np.dtype[Any]) -> None:
    """Raise EncodeError for a dtype that TIFF cannot hold."""
    if dtype.name not in DTYPES:
        raise EncodeError(
            "TIFF cannot hold this dtype",
            field="dtype",
            expected=f"bool, {', '.join(sorted(_DTYPES))}",
            actual=str(dtype)[:80],
            remedy="convert the array, such as with array.astype('float32'), or use a NumpyTarget",
        )


def usual_axes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Default axes: TZCYX from the right, as in ImageJ; ZYX for 3 axes; colours last if likely."""
    ndim = len(shape)
    if ndim < 2:
        return "YX"[2 - ndim :]
    colours = ndim > 2 and shape[-1] in {3, 4} and shape[-2] > 4 and dtype.name in {"uint8", "uint16"}
    page = "YXS" if colours else "YX"
    return leading_axes(ndim - len(page)) + page


def leading_axes(count: int) -> str:
    """Default letters for the axes before the plane."""
    usual = {0: "", 1: "Z", 2: "ZC", 3: "TZC"}.get(count)
    return usual if usual is not None else "QPONMLKJIHGFEDBA"[: count - 3] + "TZC"


def _checked_axes(axes: str, shape: tuple[int, ...]) -> str:
    # Colours that are called channels, but are interleaved.
    letters = axes[:-1] + "S" if axes.endswith("YXC") else axes
    if len(axes) != len(shape) or len(set(letters)) != len(letters):
        raise EncodeError(
            "axes and shape do not fit",
            field="metadata['axes']",
            expected=f"one letter, each different, for each of the {len(shape)} axes of shape {shape}",
            actual=spelled(axes),
            remedy="give the axes of this array: metadata={..., 'axes': 'ZYX'}, or leave them out",
        )
    if len(shape) > 1 and not letters.endswith(("YX", "YXS")):
        raise EncodeError(
            "the pages of a TIFF are planes of Y and X",
            field="metadata['axes']",
            expected="axes that end in YX, or in YXS for interleaved colours",
            actual=spelled(axes),
            remedy="bring them there: numpy.moveaxis(array, ...)",
        )
    return letters


def _folded(axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Fit axes to T, Z and C before YX(S): other axes get a free letter, or are merged."""
    if len(shape) < 2:
        return "YX", (1,) * (2 - len(shape)) + shape
    page = 3 if axes.endswith("S") else 2
    free = [letter for letter in "TCZ" if letter not in axes]
    letters: list[str] = []
    extents: list[int] = []
    pending = 1  # extent of leading axes that found no letter: they join the next one
    for letter, extent in zip(axes[:-page], shape, strict=False):
        if letter in "TZC" or free:
            letters.append(letter if letter in "TZC" else free.pop(0))
            extents.append(extent * pending)
            pending = 1
        elif letters:
            extents[-1] *= extent
        else:
            pending *= extent
    return "".join(letters) + axes[-page:], (*extents, *shape[-page:])
