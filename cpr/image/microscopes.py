"""Reads microscope formats (.czi, .nd2, .lif) through bioio, https://bioio-devs.github.io/bioio.

bioio and its readers are no dependencies, as the reader of .czi is under the GPL. They read paths of this
machine, and tell sizes of pixels in micrometres.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np

from cpr.data.image_metadata import Metadata
from cpr.data.memory import require_memory
from cpr.data.regions import Selection, ends
from cpr.data.units import Length
from cpr.data.user_warnings import warn_user
from cpr.errors import CprError, MissingDependencyError, UnsupportedExtensionError
from cpr.format import Region, damaged
from cpr.image.image_selection import chosen, labels
from cpr.io.urls import protocol_of

__all__ = ["EXTENSIONS", "images", "inspect", "is_of_microscope", "read", "require_reader"]

Array = np.ndarray[Any, Any]
Image = int | str | None

# The packages with bioio's readers.
_READERS = {".czi": "bioio-czi", ".nd2": "bioio-nd2", ".lif": "bioio-lif"}
EXTENSIONS = tuple(_READERS)

# So that a part is read plane by plane; by itself bioio takes whole stacks.
_BY_PLANES = {"bioio-czi", "bioio-lif"}
# What bioio calls a channel that has no name.
_UNNAMED = re.compile(r"Channel:\d+(:\d+)*")


def is_of_microscope(ext: str) -> bool:
    """Whether files with this extension are read by bioio."""
    return ext.lower() in _READERS


def require_reader(url: str, ext: str) -> None:
    """Raise unless the file is local and its bioio reader is installed; imports nothing.

    Raises UnsupportedExtensionError for a file in a store, MissingDependencyError without the packages.
    """
    if (protocol := protocol_of(url)) != "file":
        name = os.path.basename(url)
        raise UnsupportedExtensionError(
            f"{ext.lower()} files are read from local files only, by bioio",
            url=url,
            expected="a path on this machine",
            actual=f"a file at {protocol}://",
            remedy=f"copy it to this machine, and read the copy: fs, path = fsspec.url_to_fs({url!r}); "
            f"fs.get(path, {name!r})",
        )
    package = _READERS[ext.lower()]
    if missing := [name for name in ("bioio", package) if not _is_installed(name)]:
        raise _missing(package, f"{' and '.join(missing)} not installed", url)


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package.replace("-", "_")) is not None


def _missing(package: str, found: str, url: str | None = None) -> MissingDependencyError:
    return MissingDependencyError(
        "such files are read by bioio",
        url=url,
        expected=f"the packages bioio and {package}",
        actual=found,
        remedy=f"pip install bioio {package}",
    )


@contextlib.contextmanager
def _opened(path: str, ext: str, by_planes: bool = False) -> Iterator[Any]:
    """Open a file as bioio's BioImage; errors of bioio and its readers become DecodeErrors."""
    package = _READERS[ext.lower()]
    try:
        bioio = importlib.import_module("bioio")
        reader = importlib.import_module(package.replace("-", "_")).Reader
    except ImportError as error:
        raise _missing(package, f"import failed: {error}") from error
    options = {"chunk_dims": ["Y", "X"]} if by_planes and package in _BY_PLANES else {}
    try:
        yield bioio.BioImage(path, reader=reader, **options)
    except (CprError, MemoryError, Warning):
        raise
    except Exception as error:
        # Of what bioio itself says, the reader's reason comes last.
        reason = str(error).rpartition("Reader: ")[2].replace(path, "it")
        raise damaged(
            f"bioio cannot read it with {package}",
            f"a whole {ext.lower()} file",
            f"{type(error).__name__}: {reason!a}",
            "open it in the program that wrote it: if that can, upgrade the reader (pip install --upgrade "
            f"bioio {package}), or export it there as OME-TIFF; else restore the file",
        ) from error


class _Scene:
    """One image of a file.

    Attributes:
        image: bioio's, which is at this one.
        axes: letters of the axes longer than 1, and of Y and X, as for TIFF files.
        shape: along these.
        dtype: in this machine's order of bytes.
    """

    def __init__(self, image: Any, which: Image) -> None:
        image.set_scene(chosen(list(image.scenes), which))
        order, sizes = image.dims.order, image.shape
        self.image = image
        self._kept = [size > 1 or axis in "YX" for axis, size in zip(order, sizes, strict=True)]
        self.axes = "".join(axis for axis, kept in zip(order, self._kept, strict=True) if kept)
        self.shape = tuple(int(size) for size, kept in zip(sizes, self._kept, strict=True) if kept)
        self.dtype = np.dtype(image.dtype).newbyteorder("=")
        native_dims = image.reader.dims
        lost = [
            f"{axis} ({size})"
            for axis, size in zip(native_dims.order, native_dims.shape, strict=True)
            if size > 1 and axis not in order + "M"  # tiles are put together
        ]
        if lost:
            warn_user(
                f"bioio gives the first along {', '.join(lost)} alone; "
                "BioImage(path).reader.xarray_dask_data has all"
            )

    def whole(self) -> Any:
        """All pixels."""
        return self.image.data[tuple(slice(None) if kept else 0 for kept in self._kept)]

    def part(self, selection: Selection) -> Any:
        """Some of the pixels; planes without any of them are not read, except for RGB."""
        if not all(selection.ranges):
            return np.empty(selection.shape, self.dtype)
        bounds = [ends(along) for along in selection.ranges]
        box = {axis: slice(least, most + 1) for axis, (least, most) in zip(self.axes, bounds, strict=True)}
        within = tuple(
            0 if dropped else slice(None, None, along.step)
            for along, dropped in zip(selection.ranges, selection.dropped, strict=True)
        )
        if "S" in self.axes:
            # The lazy arrays of bioio-czi 3.0 have other samples than the file.
            return self.image.get_image_data(self.axes, **box)[within]
        lazy = self.image.dask_data[tuple(box.get(axis, 0) for axis in self.image.dims.order)][within]
        # Readers are not known to stand several threads.
        return np.asarray(lazy.compute(scheduler="synchronous"))

    def metadata(self) -> Metadata:
        """The metadata that bioio reads."""
        sizes = self._told("physical_pixel_sizes")
        x, y, z = (_length(getattr(sizes, axis, None)) for axis in "XYZ")
        interval = self._told("time_interval") if "T" in self.axes else None
        seconds = interval.total_seconds() if isinstance(interval, timedelta) else 0.0
        names = tuple(str(name) for name in self._told("channel_names") or ())
        count = self.shape[self.axes.index("C")] if "C" in self.axes else 1
        named = len(names) == count and not all(map(_UNNAMED.fullmatch, names))
        return Metadata(
            axes=self.axes,
            x=x or y,
            y=y or x,
            z=z if "Z" in self.axes else None,
            interval=seconds if seconds > 0 else None,
            channels=names if named else (),
        )

    def _told(self, name: str) -> Any:
        """A property that bioio reads; a file without it can still be read."""
        try:
            return getattr(self.image, name)
        except Exception as error:
            warn_user(f"bioio cannot tell the file's {name}: {type(error).__name__}: {ascii(error)[:200]}")
            return None


def _length(size: float | None) -> Length | None:
    # 0 stands for a size that nobody knows.
    return Length(float(size), "µm") if size and size > 0 and math.isfinite(size) else None


def read(path: str, ext: str, which: Image, region: Region | None = None) -> Array:
    """Read the pixels of an image in a local file, or a region; little more than that is read.

    Raises DecodeError, MissingDependencyError, and FormatError for an image or a region that is not there.
    """
    with _opened(path, ext, by_planes=region is not None) as image:
        scene = _Scene(image, which)
        selection = None if region is None else Selection.of(region, scene.shape)
        shape = scene.shape if selection is None else selection.shape
        require_memory(math.prod(shape) * scene.dtype.itemsize, "the pixels")
        array: Array = scene.whole() if selection is None else scene.part(selection)
        return np.ascontiguousarray(array, scene.dtype).reshape(shape)


def inspect(path: str, ext: str, which: Image) -> tuple[tuple[int, ...], np.dtype[Any], Metadata]:
    """Shape, dtype and metadata of an image in a file. Raises as `read`."""
    with _opened(path, ext) as image:
        scene = _Scene(image, which)
        return scene.shape, scene.dtype, scene.metadata()


def images(path: str, ext: str) -> list[int | str]:
    """The values of the option `image` for each image in a file. Raises as `read`."""
    with _opened(path, ext) as image:
        return labels(list(map(str, image.scenes)))
