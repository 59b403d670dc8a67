"""Limits how much tifffile reads of the headers of microscopes and slide scanners.

tifffile has a parser for each, made for files as those programs write them. Some take a time that grows with
the square of a text's length, some make a list as long as a number says. What an image's shape depends on
is read here, and nothing else of them; what multiplies is counted first.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import tifffile

from cpr.image.metered_file import OutOfProportion
from cpr.image.page_index import most_claimed

__all__ = ["VendorHeaders", "require_modest_text"]

_LSM = 34412
_SIS_INI = 33471
# Matlab's values of ScanImage that tell a shape: channels, and frames of a slice.
_SCANIMAGE = ("SI.hChannels.channelSave", "SI.hStackManager.framesPerSlice")
_LONGEST_VALUE = 10_000
_MANY = ("zeros(", "ones(")  # one call in Matlab's notation is any number of values
# Which sign stands between the values of a description.
_SEPARATORS = {"is_svs": "|", "is_trestle": ";", "is_huron": "\n", "is_pilatus": "\n", "is_fluoview": "\n"}


class VendorHeaders(tifffile.TiffFile):  # type: ignore[misc]  # final to type checkers
    """A TIFF of which only those vendor headers are read that locate its planes.

    Raises OutOfProportion for those that claim more than a file of this size has use for.
    """

    # In these tifffile since 2026.11 finds axes or places of pixels in the world; other versions read pages.
    is_flimage = False
    is_geotiff = False

    @cached_property
    def scanimage_metadata(self) -> dict[str, Any] | None:
        """ScanImage's settings that determine the shape."""
        if not self.is_scanimage:
            return None
        lines = {}
        for line in _scanimage_header(self.filehandle).splitlines():
            key, _, value = line.partition("=")
            if key.strip() in _SCANIMAGE:
                lines[key.strip()] = value.strip()
        for value in lines.values():
            if len(value) > _LONGEST_VALUE or any(many in value for many in _MANY):
                raise _refused("ScanImage's header", f"a number or up to {_LONGEST_VALUE} characters", value)
        if not lines:
            return {}
        text = "".join(f"{key} = {value}\n" for key, value in lines.items())
        return {"FrameData": tifffile.matlabstr2py(text)}

    @cached_property
    def micromanager_metadata(self) -> dict[str, Any] | None:
        """Micro-Manager's summary and index, without display settings and comments."""
        if not self.is_micromanager:
            return None
        modest: Any = _ModestJson(self.filehandle)
        found: dict[str, Any] = tifffile.read_micromanager_metadata(modest, {"Summary", "IndexMap"})
        return found

    @cached_property
    def lsm_metadata(self) -> dict[str, Any] | None:
        """The record of an LSM file, without the lists that it points to: colours, events, marks."""
        tag = self.pages.first.tags.get(_LSM) if self.is_lsm else None
        if tag is None:
            return None
        self.filehandle.seek(tag.valueoffset)
        alone: Any = _RecordAlone(self.filehandle)
        found: dict[str, Any] = tifffile.tifffile.read_cz_lsminfo(alone, self.byteorder, 1, tag.count, 4)
        return found

    @cached_property
    def sis_metadata(self) -> dict[str, Any] | None:
        """The settings of Olympus SIS."""
        tag = self.pages.first.tags.get(_SIS_INI)
        most = most_claimed(self.filehandle.size)
        if tag is not None:
            self.filehandle.seek(tag.valueoffset)
            text = self.filehandle.read(tag.count).decode("utf-8", "replace")
            if (count := max(text.count("\n"), _listed_in_ini(text))) > most:
                raise _refused("Olympus's settings", f"up to {most} lines, bands and positions", count)
        found: dict[str, Any] | None = super().sis_metadata
        planes = 1
        for extent in (found or {}).get("shape", ()):
            planes *= extent if isinstance(extent, int) else most + 1
            if planes > most:
                raise _refused("Olympus's settings", f"up to {most} planes", "more")
        return found


def require_modest_text(tiff: VendorHeaders) -> None:
    """Raise OutOfProportion for a vendor's description with too many values."""
    page = tiff.pages.first
    most = most_claimed(tiff.filehandle.size)
    for kind, sign in _SEPARATORS.items():
        if getattr(page, kind, False) and (count := page.description.count(sign)) > most:
            raise _refused("its description", f"up to {most} values", count)


def _scanimage_header(file: tifffile.FileHandle) -> str:
    """The text between the header of a BigTIFF and its pages; empty if there is none."""
    file.seek(0)
    start = file.read(32)
    if len(start) < 32 or struct.unpack_from("<2sH", start) != (b"II", 43):
        return ""
    magic, version, size = struct.unpack_from("<III", start, 16)
    if magic != 0x07030301 or version not in {3, 4}:
        return ""
    return file.read(size).rstrip(b"\0").decode("utf-8", "replace")


def _listed_in_ini(text: str) -> int:
    """How many entries tifffile makes for numbered settings of Olympus, before it reads their values."""
    section, bands, count = "", 0, 0
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            count += bands if section == "Band" else 0
        key, _, value = line.partition("=")
        with suppress(ValueError):
            if (section, key.strip()) == ("Dimension", "Band"):
                bands = int(value)
            elif (section, key.strip()) == ("ASD", "Count"):
                count += int(value)
    return count


class _ModestJson:
    """A file whose JSON may have only as many values as a file of its size can need."""

    def __init__(self, file: tifffile.FileHandle) -> None:
        self._file = file
        self.seek = file.seek

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        most = most_claimed(self._file.size)
        if (count := sum(data.count(sign) for sign in (b",", b"[", b"{"))) > most:
            raise _refused("Micro-Manager's summary", f"up to {most} values", count)
        return data


class _RecordAlone:
    """A file that appears to end after one record."""

    def __init__(self, file: tifffile.FileHandle) -> None:
        self._file = file
        self._ended = False
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int) -> bytes:
        return b"" if self._ended else self._file.read(size)

    def read_record(self, dtype: np.dtype[Any], byteorder: Any) -> Any:
        self._ended = True
        return self._file.read_record(dtype, byteorder=byteorder)


def _refused(what: str, expected: str, actual: object) -> OutOfProportion:
    return OutOfProportion(f"{what} claims more than is read of a file of this size", expected, actual)
