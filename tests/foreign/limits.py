"""What other programs cannot, each with the reason: a difference without one is ours to mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.foreign.cases import Case


class Limit(NamedTuple):
    """Something that a reader cannot.

    Attributes:
        reader: its name.
        what: "opens", "pixels", "axes", "size", "interval", "names" or "values".
        holds: for which cases.
        reason: in words, for the table.
    """

    reader: str
    what: str
    holds: Callable[[Case], bool]
    reason: str


def _opt(**wanted: Any) -> Callable[[Case], bool]:
    return lambda case: all(case.options.get(key) == value for key, value in wanted.items())


def _dtypes(*names: str) -> Callable[[Case], bool]:
    return lambda case: case.options.get("dtype") in names


def _float_predictor(case: Case) -> bool:
    return bool(case.options.get("predictor")) and case.dtype.startswith("float")


def _ome(case: Case) -> bool:
    return case.kind == "OME-TIFF"


def _half(case: Case) -> bool:
    return case.dtype == "float16"


_WIDE = ("complex64", "complex128", "float64", "int64", "uint64")
_ZSTD = _opt(compression="zstd")
_COMPLEX = _dtypes("complex64", "complex128")
_INT64 = _dtypes("int64", "uint64")
_WIDENED = "gives float16 as float32"

LIMITS: list[Limit] = [
    Limit("ImageJ", "opens", _ZSTD, "no zstd"),
    Limit(
        "ImageJ",
        "opens",
        _dtypes(*_WIDE, "float16"),
        "no complex numbers, float16, 64-bit numbers",
    ),
    Limit("ImageJ", "pixels", _float_predictor, "ignores the predictor of floats"),
    Limit("ImageJ", "pixels", _dtypes("int32", "uint32"), "gives 32-bit integers as float32"),
    Limit(
        "ImageJ",
        "names",
        lambda case: case.options.get("compression") is not None and not _ome(case),
        "no labels of compressed stacks",
    ),
    Limit("ImageJ", "axes", _ome, "no axes of OME-XML"),
    Limit(
        "ImageJ",
        "pixels",
        lambda case: _ome(case) and case.axes in ("ZTCYX", "CTZYX"),
        "planes in the order of the file",
    ),
    Limit("ImageJ", "size", lambda case: _ome(case) and "Z" in case.axes, "no step in Z of OME-XML"),
    Limit("ImageJ", "interval", _ome, "no interval of OME-XML"),
    Limit("ImageJ", "names", _ome, "no names of OME-XML"),
    Limit("Bio-Formats", "opens", _float_predictor, "no predictor of floats"),
    Limit("Bio-Formats", "opens", _COMPLEX, "no complex numbers"),
    Limit("Bio-Formats", "opens", _INT64, "no 64-bit integers"),
    Limit("Bio-Formats", "pixels", _half, _WIDENED),
    Limit("Bio-Formats", "axes", lambda case: case.kind == "plain TIFF", "pages are frames"),
    Limit("Bio-Formats", "names", lambda case: case.kind == "ImageJ TIFF", "no labels of ImageJ"),
    Limit("GDAL", "pixels", _half, _WIDENED),
    Limit("libvips", "opens", _ZSTD, "no zstd in this build"),
    Limit("libvips", "opens", _dtypes(*_WIDE), "no complex numbers, no 64-bit numbers here"),
    Limit("libvips", "pixels", _half, _WIDENED),
    Limit("OpenCV", "opens", _ZSTD, "no zstd in this build"),
    Limit("OpenCV", "opens", _dtypes("complex64", "complex128", "float16"), "no complex numbers, no float16"),
    Limit("Pillow", "opens", _dtypes(*_WIDE, "float16"), "no complex numbers, float16, 64-bit numbers"),
    Limit("Pillow", "pixels", _dtypes("int16"), "gives int16 as int32"),
    Limit(
        "Pillow",
        "pixels",
        lambda case: "S" in case.axes and case.dtype == "uint16",
        "gives RGB of 16 bits as 8",
    ),
    Limit(
        "ImageJ",
        "opens",
        lambda case: "S" in case.axes and case.dtype == "uint16",
        "no RGB of 16 bits with a predictor",
    ),
    Limit(
        "zarrita",
        "opens",
        _dtypes("complex64", "complex128", "float16"),
        "no complex numbers, no float16 in this Node",
    ),
    Limit("ngio", "size", _opt(unit=None), "takes pixels of unknown size for 1 micrometer"),
]

LIMITS += [
    Limit(
        reader,
        "pixels",
        lambda case: case.name == "ij-one-directory",
        "sees one page of ImageJ's form for 4 GiB",
    )
    for reader in ("GDAL", "libvips", "OpenCV", "Pillow")
]


def limit_of(reader: str, what: str, case: Case) -> Limit | None:
    """Why the reader need not get this right."""
    return next(
        (one for one in LIMITS if one.reader == reader and one.what == what and one.holds(case)), None
    )
