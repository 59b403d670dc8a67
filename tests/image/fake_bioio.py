"""Stand-ins for bioio and its readers: what cpr asks of the real ones. Their files are numpy archives.

The real ones are not among the packages that the tests need: tests/image/test_microscopes.py runs with them
where they are installed (`make test-foreign` does that). Names and behaviour are those of bioio 3.6,
bioio-czi 3.0, bioio-nd2 2.6 and bioio-lif 2.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

BIOIO = '''
import os
from collections import namedtuple
from datetime import timedelta
import dask.array as da
import numpy as np

Dims = namedtuple("Dims", "order shape")
Sizes = namedtuple("Sizes", "Z Y X")


class BioImage:
    """TCZYX, and S where there are samples."""

    def __init__(self, path, reader, **options):
        self.path, self.reader = path, reader(path, **options)

    @property
    def scenes(self):
        return tuple(self.reader.names)

    def set_scene(self, which):
        self.reader.current = which

    @property
    def dims(self):
        order = "TCZYXS" if "S" in self.reader.dims.order else "TCZYX"
        sizes = dict(zip(self.reader.dims.order, self.reader.dims.shape))
        return Dims(order, tuple(sizes.get(axis, 1) for axis in order))

    @property
    def shape(self):
        return self.dims.shape

    @property
    def dtype(self):
        return self.reader.array().dtype

    def _standard(self, array):
        native = self.reader.dims.order
        array = array[tuple(slice(None) if axis in self.dims.order else 0 for axis in native)]
        held = [axis for axis in native if axis in self.dims.order]
        array = array.transpose([held.index(axis) for axis in self.dims.order if axis in held])
        return array.reshape(self.shape)

    @property
    def data(self):
        if os.path.exists(self.path + ".next"):
            os.replace(self.path + ".next", self.path)
        return self._standard(self.reader.array())

    @property
    def dask_data(self):
        return da.from_array(self.data, chunks=(1, 1, 1, *self.shape[3:]))

    def get_image_data(self, order, **parts):
        found = self.data[tuple(parts.get(axis, slice(None)) for axis in self.dims.order)]
        return found[tuple(slice(None) if axis in order else 0 for axis in self.dims.order)]

    @property
    def physical_pixel_sizes(self):
        if self.reader.names[0] == "no sizes":
            raise ValueError("Expected 1 distance scale for dimension 'X' but found 0.")
        return Sizes(0.5, 0.2, 0.1)

    @property
    def channel_names(self):
        count = self.dims.shape[1]
        return ["Channel:0"] if count == 1 else [np.str_(f"dye {number}") for number in range(count)]

    @property
    def time_interval(self):
        return timedelta(milliseconds=1500)
'''

READER = """
import numpy as np
from bioio import Dims


class Reader:
    def __init__(self, path{options}):
        with np.load(path) as archive:
            named = [(name.split("|"), archive[name]) for name in archive]
        self._arrays = {{name: (axes, array) for (name, axes), array in named}}
        self.names, self.current = list(self._arrays), 0

    def array(self):
        return self._arrays[self.names[self.current]][1]

    @property
    def dims(self):
        order, array = self._arrays[self.names[self.current]]
        return Dims(order, array.shape)

    @property
    def xarray_dask_data(self):
        return self.array()
"""


def install(folder: Path) -> None:
    """Put the packages into a folder, which is then put on sys.path."""
    (folder / "bioio.py").write_text(BIOIO)
    for name, options in (("czi", ", chunk_dims=()"), ("nd2", ""), ("lif", ", chunk_dims=()")):
        (folder / f"bioio_{name}.py").write_text(READER.format(options=options))


def write(path: Path, **scenes: tuple[str, np.ndarray]) -> None:
    """A file with these scenes, each with its axes."""
    with path.open("wb") as file:
        np.savez(file, **{f"{name}|{axes}": array for name, (axes, array) in scenes.items()})
