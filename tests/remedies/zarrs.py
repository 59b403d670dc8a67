"""Remedies that writing and reading Zarr and OME-Zarr name."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dask.array as da
import numpy as np
import zarr

import cpr
from tests.remedies.rows import LEFT_OUT, STACK, Row, ome_zarr, place, stored
from tests.remedies.rows import zarr as zarr_of


def image(axes: str | None = "ZYX", data: Any = STACK) -> Any:
    """A target of an image that is written and not persisted."""
    target = cpr.OMEZarrTarget.from_path(place("a.ome.zarr"), metadata=axes and {"axes": axes})
    target.set_data(data)
    return target


def labelled() -> Any:
    """The same, with labels."""
    target = image()
    target.add_labels("cells", np.ones_like(STACK))
    return target


def colours(ndim: int) -> Any:
    return np.zeros((2, 2, 9, 9, 3)[-ndim:], "uint8")


def written(change: Any = None, labels: bool = False) -> Path:
    """An OME-Zarr that somebody else wrote; `change` is made in its metadata."""
    path = Path(mkdtemp()) / "a.ome.zarr"
    target = cpr.OMEZarrTarget.from_path(path, metadata={"axes": "ZYX"}, levels=1)
    target.set_data(STACK)
    if labels:
        target.add_labels("cells", np.ones_like(STACK))
    found = Path(target.persist().url)
    if change is not None:
        said = json.loads((found / "zarr.json").read_text())
        change(said["attributes"])
        said.pop("consolidated_metadata", None)
        (found / "zarr.json").write_text(json.dumps(said))
    return found


def group_that_says(**ome: Any) -> str:
    path = f"{mkdtemp()}/a.zarr"
    zarr.create_group(path, attributes={"ome": {"version": "0.5", **ome}})
    for inside in ("0", "A/1/0"):
        zarr.create_group(
            path, path=inside, attributes=json.loads((written() / "zarr.json").read_text())["attributes"]
        )
    return path


def named(**ome: Any) -> Row:
    """A group that is no image, whose error says which is."""
    group = "0" if "bioformats2raw.layout" in ome else "A/1/0"
    return Row(
        lambda: cpr.OMEZarrSource.from_path(group_that_says(**ome)).levels(), f'group="{group}"',
        lambda: cpr.OMEZarrSource.from_path(group_that_says(**ome), group=group).levels(),
    )  # fmt: skip


def array(shape: tuple[int, ...] = (3, 4), **options: Any) -> str:
    path = f"{mkdtemp()}/a.zarr"
    zarr.create_array(path, shape=shape, dtype="uint8", **options)
    return path


def group() -> str:
    path = f"{mkdtemp()}/a.zarr"
    zarr.create_group(path).create_array("name", shape=(3, 4), dtype="uint8")
    return path


def source(path: Any, **options: Any) -> Any:
    return cpr.ZarrSource.from_path(path, **options)


def ome_source(path: Any, **options: Any) -> Any:
    return cpr.OMEZarrSource.from_path(path, **options)


def _unknown() -> Any:
    lazy = da.from_array(STACK, chunks=(1, 4, 5))
    return lazy[lazy[:, 0, 0] > 3]


def _broken() -> Path:
    path = Path(array())
    (path / "zarr.json").write_text("{")
    return path


def _without_level() -> Path:
    path = written()
    (path / "0" / "zarr.json").unlink()
    return path


def _labels_that_are_gone() -> Path:
    path = written(labels=True)
    said = path / "labels" / "zarr.json"
    text = json.loads(said.read_text())
    text["attributes"]["ome"]["labels"].append("gone")
    said.write_text(json.dumps(text))
    return path


def _version(said: Any) -> None:
    said["ome"]["version"] = "0.1"


def _no_axes(said: Any) -> None:
    said["ome"]["multiscales"][0]["axes"] = 3


def option(
    field: str, bad: Any, good: Any, ext: str = ".zarr", cls: Any = cpr.ZarrTarget, **more: Any
) -> Row:
    """Of an option, which is corrected, or left out."""

    def made(**options: Any) -> Any:
        return cls.from_path(f"memory://remedies/a{ext}", **options)

    return Row(
        lambda: made(**more, **{field: bad}), LEFT_OUT, lambda: (made(**more, **{field: good}), made(**more))
    )


def of_image(field: str, bad: Any, good: Any) -> Row:
    return option(field, bad, good, ".ome.zarr", cpr.OMEZarrTarget)


def labelling(bad: dict[str, Any], good: dict[str, Any], named: str, name: str = "cells") -> Row:
    """Of what is said of labels."""

    def made(**said: Any) -> Any:
        return image().add_labels(said.pop("name", name), np.ones_like(STACK), **said) or 1

    return Row(lambda: made(**bad), named, lambda: made(**good))


def _twice() -> Any:
    return labelled().add_labels("cells", np.ones_like(STACK))


LABELS = 'add_labels("cells", mask, colors={1: "green"}, properties={1: {"area": 12.5}})'
SAID = {"colors": {1: "green"}, "properties": {1: {"area": 12.5}}}
TIMES = STACK.astype("M8[s]")
MANY = {"shape": (20_000_000,), "chunks": (1,)}


def of_levels(**metadata: Any) -> Any:
    return stored(cpr.OMEZarrTarget, ".ome.zarr", STACK, levels=3, metadata=metadata)


ROWS: dict[str, Row] = {
    # written
    "an array that is announced": Row(
        lambda: zarr_of(da.from_array(STACK), {"shape": (9,)}), "leave shape= and dtype= out",
        lambda: zarr_of(da.from_array(STACK)),
    ),
    "a pixel larger than any number": Row(
        lambda: of_levels(unit="cm", PhysicalSizeX=8e307, PhysicalSizeXUnit="cm"), "unit='m'",
        lambda: of_levels(unit="m", PhysicalSizeX=8e305, PhysicalSizeXUnit="m"),
    ),
    "an array that is declared": Row(
        lambda: zarr_of(STACK, shape=(3, 4, 5), dtype="uint8"), "data.astype(dtype)",
        lambda: zarr_of(STACK.astype("uint8"), shape=(3, 4, 5), dtype="uint8"),
    ),
    "an option that zarr refuses": Row(
        lambda: zarr_of(STACK, chunks=(1, 4, 5), shards=(2, 3, 5)), "change the option that it names",
        lambda: zarr_of(STACK, chunks=(1, 4, 5), shards=(2, 4, 5)),
    ),
    "an option for another number of axes": Row(
        lambda: zarr_of(STACK, chunks=(1, 4)), "one value for each axis",
        lambda: zarr_of(STACK, chunks=(1, 4, 5)),
    ),
    "dates": Row(
        lambda: zarr_of(TIMES), 'array.view("int64")',
        lambda: zarr_of(TIMES.view("int64"), attributes={"dtype": "datetime64[s]"}),
    ),
    "chunks of nothing": option("chunks", (0, 4), (1, 4)),
    "another format": option("zarr_format", 4, 2),
    "a compressor": option("compressors", "rar", "zstd"),
    "shards of format 2": option("shards", (2, 4), None, zarr_format=2),
    "names of format 2": option("dimension_names", ["y", "x"], None, zarr_format=2),
    "no base": option("base", 7, False),
    "no shape": option("shape", (-1,), (1,)),
    "no dtype": option("dtype", "longer", "uint8"),
    "a path outside": Row(
        lambda: source("a.zarr", group="../b"), 'group="0"',
        lambda: source(group(), group="name").get_data(),
    ),
    "levels": of_image("levels", 0, 1),
    "downscale": of_image("downscale", "X", "YX"),
    "downsample": of_image("downsample", "median", "mean"),
    "a name": of_image("name", "", "cells"),
    "colours": of_image("colors", 3, ["red"]),
    "a colour": of_image("colors", ["reddish"], ["red"]),
    "attributes": of_image("attributes", {"ome": 1}, {"operator": "me"}),
    "windows": of_image("windows", [(3, 1)], [(1, 3)]),
    "a name of labels": labelling({"name": "a/b"}, {"name": "nuclei"}, 'add_labels("nuclei", mask)'),
    "labels, twice": Row(
        _twice, 'add_labels("nuclei", mask)',
        lambda: labelled().add_labels("nuclei", np.ones_like(STACK)) or 1,
    ),
    "properties": labelling({"properties": {1: 3}}, SAID, LABELS),
    "axes of labels": labelling({"axes": ["Y", "X"]}, {"axes": "ZYX"}, 'axes="YX"'),
    "colours in a list": labelling({"colors": ["green"]}, SAID, LABELS),
    "labels by names": labelling({"colors": {"one": "green"}}, SAID, LABELS),
    "colours of labels": labelling({"colors": {1: (1, 2, 3, 999)}}, SAID, LABELS),
    "blocks of unknown size": Row(
        lambda: zarr_of(_unknown()), "compute_chunk_sizes()",
        lambda: zarr_of(_unknown().compute_chunk_sizes()),
    ),
    "an image of six axes": Row(
        lambda: ome_zarr(STACK[None, None, None]), "numpy.squeeze(array)",
        lambda: ome_zarr(np.squeeze(STACK[None, None, None])),
    ),
    "an image of six axes, as an array": Row(
        lambda: ome_zarr(STACK[None, None, None]), "ZarrTarget", lambda: zarr_of(STACK[None, None, None])
    ),
    "an image without pixels": Row(
        lambda: ome_zarr(STACK[:0]), "store it as a ZarrTarget", lambda: zarr_of(STACK[:0])
    ),
    "axes that OME-Zarr has not": Row(
        lambda: ome_zarr(STACK, metadata={"axes": "QYX"}), "leave them out", lambda: ome_zarr(STACK)
    ),
    "samples": Row(
        lambda: ome_zarr(np.zeros((9, 9, 3), "uint8"), metadata={"axes": "YXS"}), "'YXC' says the same",
        lambda: ome_zarr(np.zeros((9, 9, 3), "uint8"), metadata={"axes": "YXC"}),
    ),
    "axes of another shape": Row(
        lambda: ome_zarr(STACK, metadata={"axes": "YX"}), "leave them out", lambda: ome_zarr(STACK)
    ),
    **{
        f"colours of {ndim} axes": Row(
            lambda ndim=ndim: ome_zarr(colours(ndim)),
            f"numpy.moveaxis(array, -1, 0), metadata={{'axes': '{moved}'}}",
            lambda ndim=ndim, axes=axes, moved=moved: (
                ome_zarr(np.moveaxis(colours(ndim), -1, 0), metadata={"axes": moved}),
                ome_zarr(colours(ndim), metadata={"axes": axes}),
            ),
        )
        for ndim, moved, axes in ((3, "CYX", "ZYX"), (4, "CZYX", "CZYX"), (5, "CTZYX", "TCZYX"))
    },
    "labels of other axes": Row(
        lambda: image().add_labels("a", np.ones((2, 4, 5), int)), "axes='YX'",
        lambda: (image().add_labels("a", np.ones((4, 5), int), axes="YX"), 1),
    ),
    "labels that are floats": Row(
        lambda: image().add_labels("a", np.ones(STACK.shape)), "array.astype('uint32')",
        lambda: (image().add_labels("a", np.ones(STACK.shape).astype("uint32")), 1),
    ),
    "colours of other channels": Row(
        lambda: ome_zarr(STACK, metadata={"axes": "CYX"}, colors=["red"]), "one for each channel, or none",
        lambda: (
            ome_zarr(STACK, metadata={"axes": "CYX"}, colors=["red", "green", "blue"]),
            ome_zarr(STACK, metadata={"axes": "CYX"}),
        ),
    ),
    "an image as a hierarchy": Row(
        lambda: cpr.OMEZarrTarget.from_path(place("a.ome.zarr")).create(), "ZarrTarget",
        lambda: cpr.ZarrTarget.from_path(place("a.zarr")).create(),
    ),
    "metadata of what is written": Row(
        lambda: image().set_metadata({"unit": "micron"}), "make a new target",
        lambda: stored(cpr.OMEZarrTarget, ".ome.zarr", STACK, metadata={"unit": "micron", "axes": "ZYX"}),
    ),
    # read
    "no Zarr": Row(
        lambda: source(f"{mkdtemp()}/a.zarr").get_data(), "check the URL", lambda: source(array()).get_data()
    ),
    "no version of what is no Zarr": Row(
        lambda: source(f"{mkdtemp()}/a.zarr").version(), "check the URL", lambda: source(array()).version()
    ),
    "a region of a group": Row(
        lambda: source(written(), group="/").get_data(region=np.s_[0]), "get_data()['0'][...]",
        lambda: (
            source(written(), group="0").get_data(region=np.s_[0]),
            source(written(), group="/").get_data()["0"][...],
        ),
    ),
    "a group for dask": Row(
        lambda: source(group()).get_dask(), "dask.array.from_array(get_data()['name'])",
        lambda: da.from_array(source(group()).get_data()["name"]).compute(),
    ),
    "a group taken for an array": Row(
        lambda: source(group()).get_data()[:], "get_data()['name'][...]",
        lambda: source(group()).get_data()["name"][...],
    ),
    "a group taken for an array by numpy": Row(
        lambda: np.squeeze(source(group()).get_data()), "from_path(url, group='name')",
        lambda: np.squeeze(source(group(), group="name").get_data()),
    ),
    "a group asked for what arrays have": Row(
        lambda: source(group()).get_data().shape, "from_path(url, group='path/of/array')",
        lambda: source(group(), group="name").get_data().shape,
    ),
    "a group that is no path": Row(
        lambda: source("a.zarr", group=[0]), 'group="0"',
        lambda: source(group(), group="name").get_data(),
    ),
    "too many chunks": Row(
        lambda: source(array(**MANY)).get_data(region=np.s_[:]), "in parts",
        lambda: source(array(**MANY)).get_data(region=np.s_[:10]),
    ),
    "too many chunks for dask": Row(
        lambda: source(array(**MANY)).get_dask(), "get_data(region=...)",
        lambda: source(array(**MANY)).get_data(region=np.s_[:10]),
    ),
    "too many chunks for dask, in larger blocks": Row(
        lambda: source(array(**MANY)).get_dask(), "chunks=...",
        lambda: da.from_array(source(array(**MANY)).get_data(), chunks=1_000_000)[:10].compute(),
    ),
    "broken metadata": Row(
        lambda: source(_broken()).get_data(), "restore the Zarr", lambda: source(array()).get_data()
    ),
    "slices of an image": Row(
        lambda: ome_source("a.ome.zarr", slices_stop=(1,)), "get_data(region=np.s_[0, :100, :100], level=0)",
        lambda: ome_source(written()).get_data(region=np.s_[0, :100, :100], level=0),
    ),
    "an array for an image": Row(
        lambda: ome_source(array()).get_data(), "ZarrSource", lambda: source(array()).get_data()
    ),
    "a level that is not there": Row(
        lambda: ome_source(written()).get_data(level=9), "levels()",
        lambda: [one.data for one in ome_source(written()).levels()],
    ),
    "labels that are not there": Row(
        lambda: labelled().region(np.s_[0], labels="nuclei"), "labels()",
        lambda: [labelled().region(np.s_[0], labels=name).get_data() for name in labelled().labels()],
    ),
    "a level that is gone": Row(
        lambda: ome_source(_without_level()).levels()[0].data, "restore the array",
        lambda: ome_source(written()).levels()[0].data,
    ),
    "labels that are gone": Row(
        lambda: ome_source(_labels_that_are_gone()).labels(), "restore it",
        lambda: ome_source(written(labels=True)).labels(),
    ),
    "an image of another version": Row(
        lambda: ome_source(written(_version)).levels(), "ZarrSource",
        lambda: source(written(_version)).get_data(),
    ),
    "broken metadata of an image": Row(
        lambda: ome_source(written(_no_axes)).levels(), "read the arrays with a ZarrSource",
        lambda: source(written(_no_axes)).get_data()[...],
    ),
    "no image": Row(
        lambda: ome_source(group()).levels(), "other Zarrs with a ZarrSource",
        lambda: source(group()).get_data(),
    ),
    "a collection": named(**{"bioformats2raw.layout": 3}),
    "a plate": named(plate={}),
    "a well": named(well={}),
    "a group of labels": Row(
        lambda: ome_source(written(labels=True) / "labels").levels(), "the image above it",
        lambda: (
            ome_source(written(labels=True)).levels(),
            ome_source(written(labels=True) / "labels/cells").levels(),
        ),
    ),
}  # fmt: skip
