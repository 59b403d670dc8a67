"""Thumbnails of arrays, made while their planes are written.

What is shown follows what microscopists look at first: the maximum over Z, channels in colours on top of
each other, the first time point, labels in colours that tell neighbours apart. Of every plane no more than
some hundred rows and columns are looked at, so that a picture of a terabyte costs as much time as one of a
gigabyte costs memory: nothing worth measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cpr.errors import DecodeError
from cpr.previews.models import Picture

__all__ = ["PictureMaker", "decode_png", "encode_png", "looks_like_labels", "sample", "within"]

Array = np.ndarray[Any, Any]

SIDE = 256  # pixels of a picture, at most
_SAMPLED = 2  # rows and columns looked at for each pixel of the picture
_MOST_READ = 4096  # rows and columns of a plane that is not passing by itself
_CROP = 256  # of a plane in full resolution, to tell labels by
_DARK, _BRIGHT = 0.5, 99.8  # percentiles that become black and white
_MAX_CHANNELS = 6

# Light adds up: where all are bright it is white. The order of ImageJ's composites is red first; this one
# stays readable for people who cannot tell red from green.
_COLOURS = ((1, 0, 1), (0, 1, 0), (0, 0.6, 1), (1, 1, 0), (1, 0.3, 0), (0, 1, 1))


class PictureMaker:
    """Makes a picture of an array from its planes in C order.

    Args:
        shape: of the array.
        dtype: of its elements.
        axes: one letter for each axis where they are known: Y and X (and S or C at the end for colours) make
            a plane, C are channels, of Z the maximum is shown, of all others the first position.
        plane_ndim: how many trailing axes make a plane, 2 or, for interleaved colours, 3.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, axes: str | None = None, plane_ndim: int = 2
    ) -> None:
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._plane_ndim = min(len(self._shape), plane_ndim)
        leading = len(self._shape) - self._plane_ndim
        known = axes is not None and len(axes) == len(self._shape)
        # Z before the plane; of other axes that nobody has named the first position is shown.
        self._leading = axes[:leading].upper() if axes and known else "Z"[:leading].rjust(leading, "Q")
        self._channels: dict[int, Array] = {}
        self._crop: Array | None = None
        self._next = 0

    @property
    def leading(self) -> str:
        """The letters of the axes before those of a plane."""
        return self._leading

    def positions(self, limit: int = 16) -> Iterator[tuple[int, ...]]:
        """Positions along the leading axes of a few planes that suffice for a picture, for `take`."""
        chosen: list[Sequence[int]] = []
        for letter, extent in zip(self._leading, self._shape, strict=False):
            if letter == "C":
                chosen.append(range(min(extent, _MAX_CHANNELS)))
            elif letter == "Z":
                # From the middle of each of as many parts.
                count = max(1, min(extent, limit // max(1, self._channel_count)))
                chosen.append([(2 * i + 1) * extent // (2 * count) for i in range(count)])
            else:
                chosen.append(range(min(extent, 1)))
        for index in np.ndindex(*(len(positions) for positions in chosen)):
            yield tuple(int(positions[i]) for positions, i in zip(chosen, index, strict=True))

    @property
    def _channel_count(self) -> int:
        at = self._leading.find("C")
        return min(_MAX_CHANNELS, self._shape[at]) if at >= 0 else 1

    def take(self, plane: Array, position: tuple[int, ...] | None = None) -> None:
        """Process the next plane, or the plane at a position of the leading axes."""
        if self._dtype.kind not in "biufc":
            return
        if position is None:
            position = tuple(
                int(i) for i in np.unravel_index(self._next, self._shape[: len(self._leading)] or (1,))
            )[: len(self._leading)]
            self._next += 1
        channel = 0
        for letter, at in zip(self._leading, position, strict=True):
            if letter == "C":
                channel = at
            elif letter != "Z" and at:
                return
        if channel >= _MAX_CHANNELS or not plane.size:
            return
        plane = plane if plane.ndim >= 2 else plane.reshape(1, -1)
        if self._crop is None:
            self._crop = np.array(_middle(plane))
        small = _real(_sampled(plane).copy())
        seen = self._channels.get(channel)
        self._channels[channel] = small if seen is None else np.fmax(seen, small)

    def finish(self) -> Picture | None:
        """The picture; None for an empty array, or elements that cannot be shown."""
        if not self._channels:
            return None
        planes = [plane for _, plane in sorted(self._channels.items())]
        if len(self._shape) < 2:
            return Picture(encode_png(_curve(planes[0].reshape(-1))), "its values, one after the other")
        if self._plane_ndim > 2:
            pixels = planes[0][..., :3] if planes[0].shape[-1] >= 3 else planes[0][..., 0]
            pixels = pixels if self._dtype == np.uint8 else _stretched(pixels)
            return Picture(encode_png(_shrunk(pixels)), self._caption())
        if self._dtype == np.bool_:
            return Picture(encode_png(_shrunk(planes[0].astype(np.uint8) * 255)), self._caption())
        if len(planes) == 1 and self._crop is not None and looks_like_labels(self._crop):
            step = _SAMPLED if max(planes[0].shape) > SIDE else 1
            return Picture(encode_png(_coloured(planes[0][::step, ::step])), "labels")
        if len(planes) == 1:
            return Picture(encode_png(_shrunk(_stretched(planes[0]))), self._caption())
        return Picture(encode_png(_shrunk(_composite(planes))), self._caption())

    def _caption(self) -> str:
        parts = []
        for letter, extent in zip(self._leading, self._shape, strict=False):
            if letter == "Z" and extent > 1:
                parts.append("maximum over Z")
            elif letter == "C" and extent > 1:
                parts.append(f"{min(extent, _MAX_CHANNELS)} of {extent} channels")
            elif extent > 1:
                parts.append(f"first of {extent} along {letter}")
        return ", ".join(parts) or "contrast stretched"


def sample(
    shape: tuple[int, ...],
    dtype: Any,
    axes: str | None,
    plane_ndim: int,
    read: Callable[[tuple[int | slice, ...]], Array],
) -> Picture | None:
    """Make a thumbnail of a stored array from a few of its planes, or from the middles of them.

    Args:
        shape: of the array.
        dtype: of its elements.
        axes: as for `PictureMaker`.
        plane_ndim: as for `PictureMaker`.
        read: gives a part of the array, of at most 16 million pixels.
    """
    maker = PictureMaker(shape, dtype, axes, plane_ndim)
    window = tuple(_window(extent) for extent in shape[len(maker.leading) :][:2])
    for position in maker.positions():
        maker.take(np.asarray(read((*position, *window))), position)
    return maker.finish()


def _window(extent: int) -> slice:
    start = max(0, (extent - _MOST_READ) // 2)
    return slice(start, min(extent, start + _MOST_READ))


def encode_png(pixels: Array) -> bytes:
    """Encode 8-bit grey (Y, X) or colour (Y, X, 3) pixels as PNG."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels, np.uint8), level=6))


def decode_png(png: bytes) -> Array:
    """Decode a PNG to pixels, (Y, X, 3) of uint8. Raises DecodeError for anything else."""
    import imagecodecs

    try:
        pixels = imagecodecs.png_decode(png)
    except Exception as error:
        raise DecodeError("not a PNG", actual=type(error).__name__, remedy="delete the preview") from None
    if pixels.dtype != np.uint8:
        pixels = (pixels >> 8).astype(np.uint8)
    return pixels[..., :3] if pixels.ndim > 2 and pixels.shape[-1] > 2 else np.stack([_grey(pixels)] * 3, -1)


def within(png: bytes, side: int) -> bytes:
    """Shrink a PNG to at most so many pixels a side; each pixel is the mean of its area.

    Raises DecodeError for what is no PNG.

    >>> decode_png(within(encode_png(np.full((200, 100), 7)), 160)).shape
    (160, 80, 3)
    """
    pixels = decode_png(png)
    longest = max(pixels.shape[:2])
    if longest <= side:
        return png
    rows, columns = (_areas(extent, max(1, round(extent * side / longest))) for extent in pixels.shape[:2])
    mean = np.rint(np.tensordot(rows, np.tensordot(pixels, columns, (1, 1)), (1, 0))).swapaxes(1, 2)
    return encode_png(mean if np.ptp(pixels, axis=2).any() else mean[..., 0])


def _areas(extent: int, count: int) -> Array:
    """Weights for averaging `extent` pixels into `count`, shape (count, extent); rows sum to 1."""
    edges = np.linspace(0, extent, count + 1)[:, None]
    at = np.arange(extent)
    shared = np.clip(np.minimum(edges[1:], at + 1) - np.maximum(edges[:-1], at), 0, None)
    return np.asarray(shared / shared.sum(1, keepdims=True))


def _grey(pixels: Array) -> Array:
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def looks_like_labels(crop: Array) -> bool:
    """Whether part of a plane looks like a label image: integers in equal patches, 0 as background.

    >>> looks_like_labels(np.kron(np.arange(16).reshape(4, 4), np.ones((20, 20), "uint16")))
    True
    >>> looks_like_labels(np.random.default_rng(0).integers(0, 255, (80, 80), "uint8"))
    False
    """
    if crop.dtype.kind not in "iu" or crop.ndim != 2 or crop.size < 2 or crop.min() != 0:
        return False
    equal = np.mean(crop[:, 1:] == crop[:, :-1]) if crop.shape[1] > 1 else 0.0
    values = np.unique(crop)
    # Masks of 0 and 255 are no labels; smooth pictures of few grey levels have fewer equal neighbours.
    return bool(equal > 0.9 and 3 <= len(values) <= max(3, crop.size // 16))


def _sampled(plane: Array) -> Array:
    """Evenly spaced rows and columns: twice as many as the picture will have, if it is to shrink."""
    longest = max(plane.shape[:2])
    if longest <= SIDE:
        return plane
    rows, columns = (_evenly(extent, SIDE * _SAMPLED / longest) for extent in plane.shape[:2])
    return plane[rows[:, None], columns]


def _evenly(extent: int, scale: float) -> Array:
    count = max(1, round(extent * scale))
    return ((np.arange(count) + 0.5) * extent / count).astype(np.int64)


def _middle(plane: Array) -> Array:
    top, left = (max(0, (n - _CROP) // 2) for n in plane.shape[:2])
    return plane[top : top + _CROP, left : left + _CROP]


def _real(plane: Array) -> Array:
    if plane.dtype.kind == "c":
        return np.abs(plane)
    return plane.astype(np.float32) if plane.dtype == np.float16 else plane


def _stretched(plane: Array) -> Array:
    """Contrast stretched so that almost all values are between black and white."""
    values = plane.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(plane.shape, np.uint8)
    low, high = np.percentile(finite, (_DARK, _BRIGHT))
    if not high > low:
        low, high = finite.min(), finite.max()
    if not high > low:
        return np.full(plane.shape, 128, np.uint8)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(np.rint(np.nan_to_num(scaled) * 255)).astype(np.uint8)


def _composite(planes: list[Array]) -> Array:
    total = np.zeros((*planes[0].shape, 3))
    for plane, colour in zip(planes, _COLOURS, strict=False):
        total += _stretched(plane)[..., None] * np.asarray(colour)
    return np.clip(total, 0, 255).astype(np.uint8)


def _coloured(labels: Array) -> Array:
    """A colour for each label, the same in every picture; very different for neighbouring numbers."""
    values, places = np.unique(labels, return_inverse=True)
    hue = (values.astype(np.float64) * 0.618033988749895) % 1.0  # the golden ratio spreads evenly
    light = 0.75 + 0.25 * ((values.astype(np.float64) * 0.7548776662) % 1.0)
    # The usual conversion of hue, saturation, value to red, green, blue.
    offsets = (np.array([5.0, 3.0, 1.0]) + hue[:, None] * 6) % 6
    wave = np.clip(np.minimum(offsets, 4 - offsets), 0, 1)
    colours = light[:, None] * (1 - 0.7 * wave) * 255
    colours[values == 0] = 0
    return np.asarray(colours.astype(np.uint8)[places.reshape(labels.shape)])


def _shrunk(pixels: Array) -> Array:
    """The mean of every 2 x 2 sampled pixels, if there are more than a picture holds."""
    if max(pixels.shape[:2]) <= SIDE:
        return pixels
    height, width = (n - n % _SAMPLED if n >= _SAMPLED else n for n in pixels.shape[:2])
    rows, columns = (_SAMPLED if n >= _SAMPLED else 1 for n in (height, width))
    cut = pixels[:height, :width].astype(np.float64)
    split = cut.reshape(height // rows, rows, width // columns, columns, *pixels.shape[2:])
    return np.asarray(split.mean(axis=(1, 3)).astype(np.uint8))


def _curve(values: Array) -> Array:
    """The values as a curve from left to right, light on dark."""
    height = SIDE // 4
    level = (255 - _stretched(values).astype(np.int64)) * (height - 1) // 255
    at = np.linspace(0, len(level) - 1, min(SIDE, max(2, len(level)))).astype(int)
    level = level[at]
    pixels = np.full((height, len(level)), 24, np.uint8)
    for x, y in enumerate(level):
        before = level[x - 1] if x else y
        pixels[min(before, y) : max(before, y) + 1, x] = 230
    return pixels
