"""Every way in which a Zarr comes to be, and all that is read of one, for tests of what all promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import cpr
from cpr import io
from cpr.zarr.folder import Folder
from cpr.zarr.full_check import verify_all
from cpr.zarr.stores.manifest import Manifest
from cpr.zarr.stores.verifying_store import VerifyingStore
from cpr.zarr.ZarrPart import ZarrPart

__all__ = ["CASES", "WRITES", "ZarrCase", "everything", "require_whole_results", "stored"]

# 10 KiB a chunk: more than what is copied of an earlier result at least.
DATA = np.random.default_rng(0).integers(1, 60_000, (4, 64, 80)).astype("uint16")
CHANGED = DATA.copy()
CHANGED[2, 3, 5] ^= 1
OPTIONS: dict[str, Any] = {"chunks": (1, 64, 80), "compressors": None}
IMAGE: dict[str, Any] = {"chunks": (1, 64, 80), "levels": 2, "metadata": {"axes": "CYX"}}
_Z_IMAGE: dict[str, Any] = {**IMAGE, "metadata": {"axes": "ZYX"}, "chunks": (1, 64, 40)}
DECLARED: dict[str, Any] = {"shape": DATA.shape, "dtype": "uint16"}

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class ZarrCase:
    """One way to write a Zarr, or to take some of one.

    Attributes:
        prepare: what has to be there before, as records, in the folder of a URL.
        write: what is tried: gives a result that is published, from that folder and these records.
        own: whether an object, by its key, is one that `verify` of the result checks.
    """

    name: str
    prepare: Callable[[str], Records]
    write: Callable[[str, Records], Any]
    own: Callable[[str], bool] = field(default=lambda key: True)

    def expected(self) -> list[np.ndarray]:
        """All that has to be read of it."""
        return _EXPECTED[self.name]()


def everything(resource: Any) -> list[np.ndarray]:
    """All elements: of every level, and of every image of a plate."""
    if hasattr(resource, "wells"):
        return [one for well in resource.wells() for image in resource[well] for one in everything(image)]
    if hasattr(resource, "levels"):
        return [resource.get_data(level=n)[...] for n in range(len(resource.levels()))]
    return [resource.get_data()[...]]


def _nothing(base: str) -> Records:
    return []


def _whole(cls: Any, place: str, **options: Any) -> Any:
    ext = ".ome.zarr" if cls is cpr.OMEZarrTarget else ".zarr"
    return cls.from_path(f"{place}/cells{ext}", **options)


def _written(cls: Any, place: str, data: np.ndarray, **options: Any) -> Any:
    target = _whole(cls, place, **options)
    target.set_data(data)
    return target.persist()


def _of_parts(whole: Any, planes: int) -> Any:
    parts = []
    for region in whole.regions((planes,)):
        part = whole.part(region)
        part.set_data(DATA[region])
        parts.append(part.persist())
    return whole.assemble(parts)


def _one_part(base: str, _: Records) -> ZarrPart:
    part: ZarrPart = _whole(cpr.ZarrTarget, base, **OPTIONS, **DECLARED).part(np.s_[2:])
    part.set_data(DATA[2:])
    return part.persist()


def _images(base: str) -> Records:
    return [_written(cpr.OMEZarrTarget, base, data, **IMAGE).serialize() for data in (DATA, CHANGED)]


def _plate(base: str, images: Records) -> Any:
    plate = cpr.OMEPlateTarget.from_path(f"{base}/plate.ome.zarr")
    first, second = map(cpr.load, images)
    plate.set_data({"A1": first, "A2": second})
    return plate.persist()


def _earlier(base: str) -> Records:
    return [_written(cpr.ZarrTarget, base, DATA, **OPTIONS).serialize()]


def _beside(base: str, earlier: Records) -> Any:
    return _written(cpr.ZarrTarget, base, CHANGED, base=earlier[0], **OPTIONS)


def _image_beside(base: str, images: Records) -> Any:
    return _written(cpr.OMEZarrTarget, base, CHANGED, base=images[0], **IMAGE)


def _twin(base: str, earlier: Records) -> Any:
    return cpr.load(earlier[0]).copy_to(f"{base}/copies")


WRITES = [
    ZarrCase("array", _nothing, lambda base, _: _written(cpr.ZarrTarget, base, DATA, **OPTIONS)),
    ZarrCase(
        "parts",
        _nothing,
        lambda base, _: _of_parts(_whole(cpr.ZarrTarget, base, **OPTIONS, **DECLARED), planes=2),
    ),
    ZarrCase(
        "image of parts",
        _nothing,
        # None has a pair of planes: the smaller level is made when they are assembled.
        lambda base, _: _of_parts(_whole(cpr.OMEZarrTarget, base, **_Z_IMAGE, **DECLARED), planes=1),
    ),
    ZarrCase("plate", _images, _plate),
    ZarrCase("beside", _earlier, _beside),
    ZarrCase("image beside", _images, _image_beside),
    ZarrCase("twin", _earlier, _twin),
]
CASES = [
    *WRITES,
    ZarrCase("part", _nothing, _one_part),
    ZarrCase(
        "region",
        _earlier,
        lambda _, earlier: cpr.load(earlier[0]).region(np.s_[1:3, 5:]),
        lambda key: key in {"c/1/0/0", "c/2/0/0"},
    ),
    ZarrCase(
        "field",
        _images,
        lambda base, images: _plate(base, images)["A", 2][0],
        lambda key: key.startswith("A/2/0/"),
    ),
]


def _levels(data: np.ndarray, options: dict[str, Any] = IMAGE) -> list[np.ndarray]:
    """An image's, as it is written at once."""
    return everything(_written(cpr.OMEZarrTarget, "memory://zarr-cases", data, **options))


_EXPECTED: dict[str, Callable[[], list[np.ndarray]]] = {
    "array": lambda: [DATA],
    "parts": lambda: [DATA],
    "image of parts": lambda: _levels(DATA, _Z_IMAGE),
    "plate": lambda: _levels(DATA) + _levels(CHANGED),
    "beside": lambda: [CHANGED],
    "image beside": lambda: _levels(CHANGED),
    "twin": lambda: [DATA],
    "part": lambda: [DATA[2:]],
    "region": lambda: [DATA[1:3, 5:]],
    "field": lambda: _levels(CHANGED),
}


def stored(resource: Folder) -> Manifest:
    """The manifest that vouches for a result, as it is stored."""
    found = Manifest.stored(resource.url, resource.place)
    assert found is not None
    return found


def require_whole_results(base: str) -> set[str]:
    """All that is published in a folder, or below, is whole, and so are parts; the URLs of the results."""
    urls = set()
    for place in [
        *io.find(f"{base}/.cpr/*.blocks", hidden=True),
        *io.find(f"{base}/*/.cpr/*.blocks", hidden=True),
    ]:
        url = io.object_of_sidecar(place)
        assert url is not None
        manifest = Manifest.stored(url)
        assert manifest is not None
        verify_all(VerifyingStore.of(manifest))
        urls.add(url)
    for place in io.find(f"{base}/.cpr/*.digests", hidden=True):
        url = io.object_of_sidecar(place)
        assert url is not None
        manifest = Manifest.stored(url, place)
        assert manifest is not None
        for key, entry in manifest.entries().items():
            with io.reading(f"{url}/{key}") as file:
                assert len(file.read()) == entry.size
    return urls
