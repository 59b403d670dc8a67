"""The TIFF format: numpy arrays as ImageJ TIFF, OME-TIFF or, if neither can hold them, plain TIFF."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np

from cpr.data.array_memory import read_only
from cpr.data.arrays import Planes, hash_array
from cpr.data.image_metadata import Metadata, calibration
from cpr.data.regions import part_of
from cpr.data.user_warnings import warn_user
from cpr.errors import EncodeError
from cpr.format import ReadableFile, Region, WritableFile, unusable
from cpr.image.description import FirstPage, first_page
from cpr.image.image_selection import ImageSelection
from cpr.image.layout import DTYPES, Layout, require_dtype, usual_axes
from cpr.image.read_metadata import is_signed, metadata_of
from cpr.image.reading import is_own, opened, read_layout, read_series, refuse_claims, series_of
from cpr.image.region import read_region
from cpr.image.series import OWN, SelfContainedTiff
from cpr.image.writing import Compression, write_pages
from cpr.previews.models import Picture
from cpr.previews.thumbnails import PictureMaker

__all__ = ["Tiff"]

Array = np.ndarray[Any, Any]

_OPTION = "not an option of TIFF"
# Level 1 takes a third of level 6's time for a few percent more bytes: docs/decisions/tiff.md.
_LEVELS = {"zlib": (1, range(10)), "zstd": (3, range(1, 23))}
# numpy's limit (https://numpy.org/doc/stable/release/2.0.0-notes.html, NPY_MAXDIMS).
_MOST_AXES = 64
# Pixels that do not compress become this much larger at most.
_GROWTH = {None: 1.0, "zlib": 1.001, "zstd": 1.004, "lzw": 1.6}


@dataclass(frozen=True)
class Tiff:
    """The TIFF format for arrays.

    Attributes:
        compression: "zlib", "zstd", "lzw" or None.
        level: of zlib (0 to 9, 1 by default) or zstd (1 to 22, 3 by default).
        predictor: store differences between neighbours, which compress better. None does so for
            integers of up to 32 bits; True for floats as well, which ImageJ cannot read; False never.
        imagej: True for ImageJ TIFF, False for OME-TIFF; None for ImageJ where it can hold the array.
        ome: whether only OME-TIFF is acceptable, as for names in `.ome.tif`.
        metadata: axes, unit, spacing, channel names ... (see `cpr.data.image_metadata`).
        resolution: (x, y) in pixels per `metadata["unit"]`, per centimetre without one.
        shape: of the array; set by its data.
        dtype: of the array; set by its data.
        origin: the program that wrote the file, if not cpr; such a file is read like a foreign one.
    """

    extensions: ClassVar[tuple[str, ...]] = (".tif", ".tiff", ".ome.tif", ".ome.tiff")
    preview_class: ClassVar[type[Picture]] = Picture

    compression: Literal["zlib", "zstd", "lzw"] | None = "zlib"
    level: int | None = None
    predictor: bool | None = None
    imagej: bool | None = None
    ome: bool = False
    metadata: dict[str, Any] | None = None
    resolution: tuple[float, float] | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    origin: Literal["predecessor"] | None = None

    def __post_init__(self) -> None:
        if self.compression not in _GROWTH:
            raise unusable(_OPTION, "compression", "'zlib', 'zstd', 'lzw' or None", self.compression)
        _, levels = _LEVELS.get(self.compression or "", (None, range(0)))
        if self.level is not None and (type(self.level) is not int or self.level not in levels):
            expected = f"{levels[0]} to {levels[-1]}" if levels else f"no level with {self.compression}"
            raise unusable(_OPTION, "level", expected, self.level)
        if self.predictor and self.compression is None:
            raise unusable(_OPTION, "predictor", "a compression with it", self.predictor)
        if self.imagej and self.ome:
            raise unusable(_OPTION, "imagej", "None or False for OME-TIFF", self.imagej)
        metadata, resolution = calibration(self.metadata, self.resolution)
        object.__setattr__(self, "metadata", metadata)
        object.__setattr__(self, "resolution", resolution)

    def fingerprint(self, data: Array) -> str:
        """The content hash of the array (see `cpr.data.arrays`)."""
        return hash_array(data)

    def describe(self, data: Any) -> Self:
        """This format with shape and dtype of the data. Raises EncodeError for unsupported data."""
        dtype = np.dtype(data.dtype).newbyteorder("=")
        require_dtype(dtype)
        described = dataclasses.replace(self, shape=tuple(data.shape), dtype=str(dtype), origin=None)
        unread = "Zstandard" if self.compression == "zstd" else "floats with a predictor"
        if self.imagej and (self.compression == "zstd" or described._predictor(dtype) == 3):  # noqa: SLF001
            warn_user(f"ImageJ itself does not read {unread}: leave that out, or imagej=True")
        if self.imagej and self.compression and described._metadata.channels:  # noqa: SLF001
            warn_user("ImageJ shows names of channels in files without compression only: compression=None")
        _ = described._first_page  # noqa: SLF001 - what metadata cannot be written is found now
        return described

    def stream(self, data: Any) -> Planes:
        """The array as a stream of pages."""
        format = self if self.shape is not None else self.describe(data)
        return Planes.of(data, format._layout.plane_ndim)  # noqa: SLF001

    def share(self, data: Any) -> Any:
        """A read-only view of a cached array."""
        return read_only(data)

    def pick(self, data: Any, region: Region) -> Any:
        """The part of an array in memory that `decode_region` would read."""
        return part_of(data, region)

    def preview_maker(self, stream: Any) -> PictureMaker:
        """Make the object that receives the planes and makes a thumbnail of them."""
        axes = self._metadata.axes or usual_axes(stream.shape, stream.dtype)
        return PictureMaker(stream.shape, stream.dtype, axes, len(stream.plane_shape))

    def encode(self, data: Any, file: WritableFile) -> None:
        """Write the array page by page; at most one encoded page is in memory."""
        if self.shape is None:
            self.describe(data).encode(data, file)
            return
        planes, layout = self.stream(data), self._layout
        # OME's identifier is of the content, where that can be known beforehand.
        content = planes.expected
        if content is None and layout.flavour == "ome" and planes.array is not None:
            content = hash_array(planes.array)
        write_pages(planes, layout, self._first_page.of(content), self._compression(layout), file)

    @property
    def _choice(self) -> ImageSelection:
        return OWN

    @cached_property
    def _metadata(self) -> Metadata:
        return Metadata.of(self.metadata, self.resolution)

    @cached_property
    def _layout(self) -> Layout:
        """The layout of the stored array."""
        assert self.shape is not None and self.dtype is not None
        dtype = np.dtype(self.dtype)
        if self.predictor and dtype.kind not in "iufb":
            raise EncodeError(
                "there is no predictor for this dtype",
                field="predictor",
                expected="integers or floats",
                actual=str(dtype),
                remedy="leave out predictor=True",
            )
        growth = _GROWTH[self.compression]
        return Layout.of(self.shape, dtype, self._metadata.axes, self.imagej, self.ome, growth)

    @cached_property
    def _first_page(self) -> FirstPage:
        return first_page(self._layout, self._metadata)

    def _compression(self, layout: Layout) -> Compression:
        default, _ = _LEVELS.get(self.compression or "", (None, None))
        return Compression(
            self.compression,
            default if self.level is None else self.level,
            self._predictor(layout.dtype),
            _GROWTH[self.compression],
        )

    def _predictor(self, dtype: np.dtype[Any]) -> int | None:
        """TIFF's predictor: horizontal differencing for integers, the floating-point one for floats."""
        if self.compression is None or self.predictor is False:
            return None
        if dtype.kind in "iu" and dtype.itemsize <= 4:
            return 2
        return 3 if self.predictor and dtype.kind == "f" else None

    def decode(self, file: ReadableFile) -> Array:
        """Read the array: with the recorded shape and dtype, or, from a foreign file, its first image.

        Raises DecodeError for what is not a TIFF, was cut, or claims more than its bytes can hold.
        """
        layout = self._known_layout()
        with opened(file, self._choice.described) as tiff:
            if layout is None:
                return _native(read_series(file, tiff, self._choice), is_signed(tiff))
            if layout.flavour == "empty":
                read_series(file, tiff)
                return np.empty(layout.shape, layout.dtype)
            return self._of_layout(file, tiff, layout)

    def _of_layout(self, file: ReadableFile, tiff: SelfContainedTiff, layout: Layout) -> Array:
        refuse_claims(layout, file)
        stored = read_layout(file, tiff, layout, self._first_page.description)
        return _restored(stored, layout.dtype).reshape(layout.shape)

    def decode_region(self, file: ReadableFile, region: Region) -> Array:
        """Read a region of the array; only the strips that it touches are read."""
        layout = self._known_layout()
        if layout is not None and (layout.flavour == "empty" or len(layout.shape) < 2):
            part: Array = part_of(self.decode(file), region)
            return part
        with opened(file, self._choice.described) as tiff:
            if layout is not None and not is_own(tiff, self._first_page.description):
                return np.asarray(part_of(self._of_layout(file, tiff, layout), region))
            found = read_region(file, tiff, region, layout, self._choice)
            signed = layout is None and is_signed(tiff)
        return _native(found, signed) if layout is None else _restored(found, layout.dtype)

    def inspect(self, file: ReadableFile) -> tuple[tuple[int, ...], np.dtype[Any], Metadata]:
        """Read shape, dtype and metadata of a file of any origin, from its directories only."""
        with opened(file, self._choice.described) as tiff:
            series = series_of(file, tiff, self._choice)
            dtype = np.dtype("int16" if is_signed(tiff) else series.dtype).newbyteorder("=")
            return tuple(series.shape), dtype, metadata_of(tiff, series)

    def require_sound(self, complete: bool) -> None:
        """Raise FormatError unless shape and dtype, as recorded, are valid.

        `complete`: they have to be there.
        """
        if self.origin is not None:
            complete = False
        if (self.shape is None) != (self.dtype is None) or (complete and self.shape is None):
            raise unusable(_OPTION, "shape, dtype", "both", "one of them, or none")
        if self.shape is None:
            return
        if len(self.shape) > _MOST_AXES or any(not 0 <= n < 1 << 62 for n in self.shape):
            raise unusable(_OPTION, "shape", f"up to {_MOST_AXES} sizes", self.shape)
        if self.dtype not in DTYPES:  # before numpy is asked, which parses such texts
            raise unusable(_OPTION, "dtype", ", ".join(sorted(DTYPES)), self.dtype)
        layout = self._known_layout()
        if layout is not None and layout.nbytes >= 1 << 62:
            raise unusable(_OPTION, "shape", "that of an array", self.shape)

    def _known_layout(self) -> Layout | None:
        """The layout of the recorded array; None for a foreign file."""
        if self.shape is None or self.dtype is None:
            return None
        try:
            return self._layout
        except (EncodeError, TypeError, ValueError) as error:
            found = f"{self.dtype} {self.shape}"
            raise unusable(_OPTION, "shape, dtype", "those of an array that TIFF can hold", found) from error


def _restored(stored: Array, dtype: np.dtype[Any]) -> Array:
    return stored != 0 if dtype == np.bool_ else stored


def _native(array: Array, signed: bool = False) -> Array:
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    # ImageJ's 0 is -32768: all that differs is the highest bit.
    return (native ^ np.uint16(1 << 15)).view(np.int16) if signed else native
