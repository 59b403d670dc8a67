"""The base class of plate sources and targets: wells by row and column, and the images in each."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import zarr

from cpr.errors import FormatError, spelled
from cpr.Resource import Resource
from cpr.zarr.ome.multiscale import child_of, described
from cpr.zarr.plates.layout import find_name
from cpr.zarr.plates.schema import PlateJson, plate_of, well_of

if TYPE_CHECKING:
    from cpr.zarr.ome.image import OMEZarr

__all__ = ["OMEPlate"]


class OMEPlate(Resource):
    """A plate; its metadata is read on first access, that of a well with the well."""

    @abstractmethod
    def _plate_node(self) -> Any:
        """Open the plate's group; reads only metadata."""

    @abstractmethod
    def _image(self, path: str) -> OMEZarr:
        """Make the resource for an image at a path inside the plate; nothing is read."""

    def _plate(self) -> tuple[zarr.Group, PlateJson]:
        node = self._plate_node()
        with self._decoding():
            return node, plate_of({} if isinstance(node, zarr.Array) else dict(node.attrs))

    def rows(self) -> tuple[str, ...]:
        """The names of the rows. Raises FormatError if it is no plate, DecodeError if it is malformed."""
        return tuple(row.name for row in self._plate()[1].rows)

    def columns(self) -> tuple[str, ...]:
        """The names of the columns. Raises as `rows`."""
        return tuple(column.name for column in self._plate()[1].columns)

    def acquisitions(self) -> dict[int, str | None]:
        """The acquisitions, id -> name; empty if there was only one. Raises as `rows`."""
        return {one.id: one.name for one in self._plate()[1].acquisitions or ()}

    def wells(self) -> tuple[tuple[str, str], ...]:
        """(row, column) of the wells that have images, in the plate's order. Raises as `rows`."""
        plate = self._plate()[1]
        rows, columns = (
            {one.name: number for number, one in enumerate(some)} for some in (plate.rows, plate.columns)
        )
        wells = [tuple(well.path.split("/", 1)) for well in plate.wells]
        return tuple(sorted(wells, key=lambda well: (rows[well[0]], columns[well[1]])))  # type: ignore[arg-type]

    def fields(self, row: str, column: str | int, acquisition: int | None = None) -> tuple[Any, ...]:
        """The images of a well, in order: `OMEZarrField` of a target, `OMEZarrSource` of a source.

        They are values of their own, which tasks take: one counts in cache keys with its own objects alone.

        Args:
            row: name of the row.
            column: name of the column, or its number.
            acquisition: of this one alone; by default of all.

        Raises FormatError for a well that has no images, and as `rows`.
        """
        group, plate = self._plate()
        found = (
            find_name((one.name for one in plate.rows), row),
            find_name((one.name for one in plate.columns), column),
        )
        path = f"{found[0]}/{found[1]}"
        if path not in [well.path for well in plate.wells]:
            raise FormatError(
                "there are no images of this well",
                url=self.url,
                field="well",
                expected="one of wells()",
                actual=spelled((row, column), 200),
                remedy="wells() tells of which wells there are images",
            )
        with self._decoding():
            node = child_of(group, path, self.url)
            if not isinstance(node, zarr.Group):
                raise FormatError(
                    "a well is listed and not there",
                    url=self.url,
                    field=path,
                    expected="a group",
                    actual=described(node),
                    remedy="restore it, or take it from the list",
                )
            images = well_of(dict(node.attrs)).images
        return tuple(
            self._image(f"{path}/{image.path}")
            for image in images
            if acquisition is None or image.acquisition == acquisition
        )

    def __getitem__(self, well: Any) -> Any:
        """The images of a well: `plate["B", 3]`. Raises as `fields`."""
        if isinstance(well, str) and well in self.keys():
            return super().__getitem__(well)  # what Prefect shows of a parameter
        if not isinstance(well, tuple) or len(well) != 2:
            raise FormatError(
                "no name of a well",
                url=self.url,
                field="well",
                expected='row and column, as plate["B", 3]',
                actual=spelled(well, 200),
                remedy="wells() tells of which wells there are images",
            )
        return self.fields(*well)
