"""NPY and NPZ files as input."""

from __future__ import annotations

from cpr.numpy.npz import ForeignNPY
from cpr.records.registry import register
from cpr.Source import Source

__all__ = ["NumpySource"]


@register
class NumpySource(Source):
    """An existing NPY file, or an NPZ file, which gives a dict of arrays.

    >>> cpr.NumpySource.from_path("s3://bucket/raw/kernel.npy").get_name()
    'kernel'
    """

    format_class = ForeignNPY
