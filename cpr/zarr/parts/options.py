"""The options of a part: its region, and the options of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cpr.data.regions import MOST_POSITIONS
from cpr.errors import NoDataError
from cpr.format import unusable
from cpr.zarr.parts.layout import Layout, layout_of

__all__ = ["PartOptions"]

Range = tuple[float, float] | None


@dataclass(frozen=True)
class PartOptions:
    """The region of a part, and the options of the whole, which its record omits.

    Attributes:
        region: (start, stop) along each axis, as they are stored.
        ranges: of an image's part that has all levels: the lowest and highest value of each of its channels,
            which the image's display ranges are made of.
        whole: the options of the whole; None of a part that was loaded.
        dropped: the axes that are not in the data, as the region has one position of them.
    """

    extensions: ClassVar[tuple[str, ...]] = (".zarr", ".ome.zarr")
    recorded: ClassVar[tuple[str, ...]] = ("region", "ranges")

    region: tuple[tuple[int, int], ...] = ()
    ranges: tuple[Range, ...] = ()
    whole: Any = None
    dropped: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if any(not 0 <= start < stop <= MOST_POSITIONS for start, stop in self.region):
            expected = "0 <= start < stop along each axis"
            raise unusable("no region of a part", "region", expected, self.region)

    def layout(self, name: str, url: str) -> Layout:
        """The layout that all parts of the whole share. Raises NoDataError for a loaded part."""
        if self.whole is None:
            raise NoDataError(
                "a part that was loaded is written no more",
                url=url,
                expected="a part that whole.part(region) gave",
                actual="one from a record",
                remedy="whole.part(region).set_data(array)",
            )
        return layout_of(self.whole, name)
