"""One image of a stored plate."""

from __future__ import annotations

from typing import Any, Self

from cpr.format import Region
from cpr.previews.models import Preview
from cpr.records.registry import register
from cpr.zarr.folder import Folder
from cpr.zarr.full_check import verify_some
from cpr.zarr.ome.image import OMEZarr
from cpr.zarr.part_of_result import Excerpt
from cpr.zarr.plates.field import FieldOptions
from cpr.zarr.reading import open_node
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.typed_error_nodes import Node
from cpr.zarr.ZarrRegion import ZarrRegion

__all__ = ["OMEZarrField"]


@register
class OMEZarrField(OMEZarr, Excerpt):
    """One image of a plate that cpr wrote, with its levels and labels: `plate["B", 3][0]`.

    It counts in cache keys with its own objects alone: a task that is handed it does not run again if
    another field changes. It is a value of a few hundred bytes, as a `ZarrRegion` is, and is read as an
    `OMEZarrTarget` is.

    Attributes:
        data_hash: of the objects of the image.
        checksum: of the manifest of the plate, which vouches for every object.
        nbytes: of all that is stored of the plate.

    >>> image = cpr.OMEZarrTarget.from_path("memory://doc/field.ome.zarr")
    >>> image.set_data(np.full((64, 64), 7, "uint16"))
    >>> plate = cpr.OMEPlateTarget.from_path("memory://doc/wells.ome.zarr")
    >>> plate.set_data({("B", 3): image})
    >>> field = cpr.load(plate["B", 3][0].serialize())
    >>> field.path, field.levels()[0].shape, int(field.get_data(region=np.s_[0, 0]))
    ('B/3/0', (64, 64), 7)
    """

    # It has the options of arrays, and is none.
    format_class = FieldOptions

    _taken_by = 'plate["B", 3][0]'
    _called = "image"

    @classmethod
    def of(cls, plate: Folder, path: str) -> Self:
        """An image of a stored plate. Raises CorruptDataError, ResourceNotFoundError, TransferError."""
        found = cls._within(plate, FieldOptions(path))
        found._compare()  # noqa: SLF001 - of this class
        return found

    @property
    def path(self) -> str:
        """The path inside the plate: row, column and field."""
        path: str = self.format.path
        return path

    def region(self, region: Region, level: int = 0, labels: str | None = None) -> ZarrRegion:
        """A region of a level of the image, or of its labels; see `OMEZarrTarget.region`."""
        return ZarrRegion.of(self, region, self._level(self._root(), level, labels).data.path)

    def preview(self) -> Preview | None:
        """A thumbnail, from the smallest level that is large enough. Raises as `get_data`."""
        return OMEZarr.preview(self)

    def verify(self) -> int:
        """Fetch and check every object of the image, in parallel; returns how many there are.

        Raises ResourceNotFoundError, CorruptDataError and TransferError, as `ZarrTarget.verify`.
        """
        self._compare()
        store = self._store()
        keys = self._keys(store.manifest)
        verify_some(store, keys)
        return len(keys)

    def _keys(self, manifest: Manifest) -> list[str]:
        folder, found = f"{self.path}/", []
        for key in manifest.keys(folder):
            if not key.startswith(folder):
                break
            found.append(key)
        return found

    def _compare(self) -> None:
        manifest = self._store().manifest
        entries = [(key, manifest.find(key)) for key in self._keys(manifest)]
        objects = [[key, found[0].size, found[0].digest.hex()] for key, found in entries if found is not None]
        self._require_objects(self._named([manifest.algorithm, objects], manifest.algorithm))

    def _open(self) -> Node:
        if not self._is_compared:
            self._compare()
        return open_node(self._store(), self.path, zarr_format=3)

    def _opened(self) -> Node:
        return self._open()

    _token = Folder._token  # noqa: SLF001 - the other base declares it

    def _known(self) -> bool:
        return False

    def facts(self) -> dict[str, Any]:
        """Summary for people, without asking the store."""
        return {**super().facts(), "path": self.path}

    def __repr__(self) -> str:
        return f"OMEZarrField({self.url!r}, path={self.path!r})"
