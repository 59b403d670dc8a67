"""OME-Zarr sources: versions 0.4 and 0.5 of any origin; broken and hostile metadata give typed errors."""

from __future__ import annotations

import copy
import json
import pickle
import uuid
import warnings

import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cpr
from cpr import io
from cpr.errors import CprError, DecodeError, FormatError, RecordError, ResourceNotFoundError

DATA = np.random.default_rng(0).integers(0, 9, (2, 6, 40, 60)).astype("uint16")

AXES = [
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "nanometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def multiscale(**changes):
    return {
        "name": "embryo",
        "axes": AXES,
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1, 500, 0.25 * 2**level, 0.25 * 2**level]},
                    {"type": "translation", "translation": [0, 0, 0.125 * (2**level - 1), 10]},
                ],
            }
            for level in range(2)
        ],
        **changes,
    }


OMERO = {
    "channels": [
        {"label": "DAPI", "color": "0000FF", "window": {"start": 1, "end": 9, "min": 0, "max": 99}},
        {"label": "GFP", "color": "00FF00"},
    ]
}
LABEL = {
    "colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}, {"label-value": 2}],
    "properties": [{"label-value": 1, "area": 3.5, "name": "nucleus"}],
    "source": {"image": "../../"},
}


def write(url: str, version: str, ome: dict, label=LABEL, name="cells") -> None:
    """An image as other programs write it, by zarr alone."""
    zarr_format = 2 if version == "0.4" else 3
    arrays = {"chunks": (1, 2, 20, 30)}
    if zarr_format == 2:
        arrays["chunk_key_encoding"] = {"name": "v2", "separator": "/"}

    def attributes(found, where):
        if version == "0.5":
            return {"ome": {"version": "0.5", **found}}
        if where == "image":
            found = {**found, "multiscales": [{"version": "0.4", **each} for each in found["multiscales"]]}
        return found

    group = zarr.open_group(url, mode="w", zarr_format=zarr_format)
    group.attrs.update(attributes(ome, "image"))
    group.create_array("0", data=DATA, **arrays)
    group.create_array("1", data=DATA[..., ::2, ::2], **arrays)
    labels = group.create_group("labels")
    labels.attrs.update(attributes({"labels": [name]}, "labels"))
    cells = labels.create_group(name)
    cells.attrs.update(attributes({"multiscales": [multiscale()], "image-label": label}, "image"))
    cells.create_array("0", data=DATA > 3, **arrays)
    cells.create_array("1", data=DATA[..., ::2, ::2] > 3, **arrays)


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_url")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_others_wrote_is_read(version, base):
    url = f"{base}/embryo.ome.zarr"
    write(url, version, {"multiscales": [multiscale()], "omero": OMERO})
    source = cpr.OMEZarrSource.from_path(url)
    assert source.get_name() == "embryo"
    assert source.get_metadata() == {
        "axes": "CZYX",
        "unit": "micron",
        "spacing": 0.5,
        "Channel": {"Name": ["DAPI", "GFP"]},
    }
    assert source.get_resolution() == (4, 4)
    first, second = source.levels()
    assert (first.scale, first.translation) == ((1, 500, 0.25, 0.25), (0, 0, 0, 10))
    assert (second.scale, second.translation) == ((1, 500, 0.5, 0.5), (0, 0, 0.125, 10))
    assert first.units == (None, "nanometer", "micrometer", "micrometer")
    assert np.array_equal(second.data[...], DATA[..., ::2, ::2])
    assert np.array_equal(source.get_dask().compute(), DATA)
    assert np.array_equal(source.get_dask(1).compute(), DATA[..., ::2, ::2])
    assert source.get_dask(1).name != source.get_dask(0).name
    assert np.array_equal(source.get_data(region=np.s_[1, ::-1, 3], level=1), DATA[1, ::-1, 6, ::2])
    image = source.image()
    assert [(c.label, c.color, c.window) for c in image.channels] == [
        ("DAPI", "0000FF", (1, 9)),
        ("GFP", "00FF00", None),
    ]
    label = source.labels()["cells"]
    assert np.array_equal(label.levels[0].data[...], DATA > 3)
    assert dict(label.colors) == {1: (1, 2, 3, 4)}
    assert dict(label.properties) == {1: {"area": 3.5, "name": "nucleus"}}
    again = cpr.load(json.dumps(source.serialize()))
    assert again.identity() == source.identity()
    assert np.array_equal(pickle.loads(pickle.dumps(again)).get_data(level=0)[0, 0], DATA[0, 0])
    assert [found.url for found in cpr.OMEZarrSource.glob(f"{base}/*.ome.zarr")] == [url]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_images_too(version, base):
    url = f"{base}/embryo.ome.zarr"
    write(url, version, {"multiscales": [multiscale()]})
    source = cpr.OMEZarrSource.from_path(f"{url}/labels/cells")
    assert dict(source.image().colors) == {1: (1, 2, 3, 4)}
    assert source.labels() == {}
    with pytest.raises(FormatError, match="a group of labels"):
        cpr.OMEZarrSource.from_path(url, group="labels").levels()


def test_given_metadata_take_the_place_of_the_files(base):
    url = f"{base}/embryo.ome.zarr"
    write(url, "0.5", {"multiscales": [multiscale()]})
    source = cpr.OMEZarrSource.from_path(url, metadata={"unit": "nm"}, resolution=(1, 2))
    assert (source.get_metadata(), source.get_resolution()) == ({"unit": "nm"}, (1, 2))
    assert cpr.load(source.serialize()).get_resolution() == (1, 2)
    source.set_metadata(None)
    assert source.get_metadata()["unit"] == "micron"


def test_transformations_of_all_levels_follow_those_of_each():
    found = multiscale(
        coordinateTransformations=[
            {"type": "scale", "scale": [1, 1, 2, 2]},
            {"type": "translation", "translation": [0, 7, 0, 1]},
        ]
    )
    write("memory://both/a.ome.zarr", "0.5", {"multiscales": [found]})
    level = cpr.OMEZarrSource.from_path("memory://both/a.ome.zarr").levels()[0]
    assert (level.scale, level.translation) == ((1, 500, 0.5, 0.5), (0, 7, 0, 21))


@pytest.mark.parametrize(
    ("unit", "scale", "expected"),
    [
        ("nanometer", 100, (0.01, "nm")),
        ("foot", 0.3048**-1, (0.3048, "ft")),
        ("zeptometer", 1e21, (1, "m")),
        ("angstrom", 10, (0.1, "angstrom")),
        ("furlong", 1, None),
        (None, 3, None),
    ],
)
def test_units(unit, scale, expected):
    axes = [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in ("lat", "lon")]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [scale, scale]}]}]
    url = f"memory://units/{unit}.ome.zarr"
    group = zarr.open_group(url, mode="w")
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group.create_array("0", data=DATA[0, 0])
    source = cpr.OMEZarrSource.from_path(url)
    assert source.get_metadata()["axes"] == "YX"
    if expected is None:
        assert source.get_resolution() is None
        assert "unit" not in source.get_metadata()
    else:
        assert source.get_resolution() == (pytest.approx(expected[0]), pytest.approx(expected[0]))
        assert source.get_metadata()["unit"] == expected[1]


@pytest.mark.parametrize(
    ("ome", "remedy"),
    [
        ({"bioformats2raw.layout": 3}, 'group="0"'),
        ({"plate": {"wells": []}}, 'group="A/1/0"'),
        ({"well": {"images": []}}, 'group="A/1/0"'),
        ({}, "ZarrSource"),
    ],
    ids=["bioformats2raw", "plate", "well", "nothing"],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_is_no_image_is_named_with_the_way_to_one(version, ome, remedy):
    url = f"memory://none/{uuid.uuid4().hex}.zarr"
    group = zarr.open_group(url, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.attrs.update({"ome": {"version": "0.5", **ome}} if version == "0.5" else ome)
    write(f"{url}/A/1/0", version, {"multiscales": [multiscale()]})
    with pytest.raises(FormatError, match="no OME-Zarr image") as caught:
        cpr.OMEZarrSource.from_path(url).levels()
    assert remedy in caught.value.remedy
    assert caught.value.url == url
    assert cpr.OMEZarrSource.from_path(url, group="A/1/0").get_data(level=0).shape == DATA.shape
    assert cpr.OMEZarrSource.from_path(f"{url}/A/1/0").image().name == "embryo"


def test_what_is_not_there_is_named(base):
    with pytest.raises(ResourceNotFoundError):
        cpr.OMEZarrSource.from_path(f"{base}/none.ome.zarr").levels()
    zarr.create_array(f"{base}/array.zarr", data=DATA)
    with pytest.raises(FormatError, match="an array"):
        cpr.OMEZarrSource.from_path(f"{base}/array.zarr").levels()


@pytest.mark.slow
def test_a_changed_image_is_another_source(base):
    url = f"{base}/embryo.ome.zarr"
    seen = set()
    for name, dtype in (("a", "u2"), ("b", "u2"), ("b", "f4")):
        write(url, "0.5", {"multiscales": [multiscale(name=name)]})
        zarr.open_group(url).create_array("0", data=DATA.astype(dtype), overwrite=True)
        seen.add(cpr.hash_objects(cpr.OMEZarrSource.from_path(url)))
    assert len(seen) == 3
    assert cpr.hash_objects(cpr.OMEZarrSource.from_path(url)) in seen


def test_options_that_make_no_sense_are_refused():
    for options in ({"slices_stop": (1,)}, {"group": "../x"}, {"resolution": (0, 0)}, {"level": 1}):
        with pytest.raises(FormatError):
            cpr.OMEZarrSource.from_path("memory://x/a.ome.zarr", **options)
    record = cpr.OMEZarrSource.from_path("memory://x/a.ome.zarr").serialize()
    for bad in ({"metadata": 5}, {"resolution": "x"}, {"group": 3}):
        with pytest.raises(RecordError):
            cpr.load({"__cpr__": {**record["__cpr__"], **bad}})


SCALE = {"type": "scale", "scale": [1, 1, 1, 1]}

BROKEN = {
    "no list": {"multiscales": 5},
    "empty": {"multiscales": []},
    "another version": {"version": "0.6", "multiscales": [multiscale()]},
    "a hostile version": {"version": {"a": []}, "multiscales": [multiscale()]},
    "no axes": {"multiscales": [{"datasets": []}]},
    "six axes": {"multiscales": [multiscale(axes=[{"name": str(n)} for n in range(6)])]},
    "one name twice": {"multiscales": [multiscale(axes=[*AXES[:3], AXES[2]])]},
    "no space": {"multiscales": [multiscale(axes=[{"name": n} for n in "abcd"])]},
    "axes of text": {"multiscales": [multiscale(axes=["c", "z", "y", "x"])]},
    "no datasets": {"multiscales": [multiscale(datasets=[])]},
    "a thousand levels": {"multiscales": [multiscale(datasets=[multiscale()["datasets"][0]] * 1000)]},
    "outside": {
        "multiscales": [multiscale(datasets=[{"path": "../x", "coordinateTransformations": [SCALE]}])]
    },
    "absolute": {
        "multiscales": [multiscale(datasets=[{"path": "/x", "coordinateTransformations": [SCALE]}])]
    },
    "control": {
        "multiscales": [multiscale(datasets=[{"path": "a\0", "coordinateTransformations": [SCALE]}])]
    },
    "no path": {"multiscales": [multiscale(datasets=[{"path": "", "coordinateTransformations": [SCALE]}])]},
    **{
        name: {"multiscales": [multiscale(datasets=[{"path": "0", "coordinateTransformations": found}])]}
        for name, found in {
            "no scale": [],
            "text": [{"type": "scale", "scale": [1, 1, 1, "1"]}],
            "negative": [{"type": "scale", "scale": [1, 1, 1, -1]}],
            "zero": [{"type": "scale", "scale": [1, 1, 1, 0]}],
            "infinite": [{"type": "scale", "scale": [1, 1, 1, float("inf")]}],
            "not a number": [{"type": "scale", "scale": [1, 1, 1, float("nan")]}],
            "true": [{"type": "scale", "scale": [1, 1, 1, True]}],
            "too few": [{"type": "scale", "scale": [1, 1, 1]}],
            "two scales": [SCALE, SCALE],
            "translation first": [{"type": "translation", "translation": [1, 1, 1, 1]}, SCALE],
            "by path": [{"type": "scale", "path": "elsewhere"}],
            "affine": [{"type": "affine", "affine": []}],
            "null": None,
        }.items()
    },
    "a channel of text": {"multiscales": [multiscale()], "omero": {"channels": ["DAPI"]}},
    "omero of text": {"multiscales": [multiscale()], "omero": "x"},
    "an infinite label": {
        "multiscales": [multiscale()],
        "image-label": {"colors": [{"label-value": float("inf"), "rgba": [0, 0, 0, 0]}]},
    },
    "labels of text": {"multiscales": [multiscale()], "image-label": {"colors": "red"}},
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_metadata_are_named(case):
    url = f"memory://broken/{uuid.uuid4().hex}.ome.zarr"
    write(url, "0.5", {"multiscales": [multiscale()]})
    zarr.open_group(url).attrs["ome"] = {"version": "0.5", **BROKEN[case]}
    source = cpr.OMEZarrSource.from_path(url)
    for ask in (source.levels, source.get_metadata, lambda: source.get_data(level=0)):
        with pytest.raises(DecodeError) as caught:
            ask()
        assert caught.value.url == url
        assert caught.value.field
        assert caught.value.expected
        assert len(str(caught.value)) < 2000
    assert source.identity()  # a key can be made; who reads hears of it


def test_levels_and_labels_that_are_none_are_named():
    url = f"memory://broken/{uuid.uuid4().hex}.ome.zarr"
    write(url, "0.5", {"multiscales": [multiscale()]})
    group = zarr.open_group(url)
    del group["1"]
    source = cpr.OMEZarrSource.from_path(url)
    with pytest.raises(DecodeError, match="is not what its metadata say") as caught:
        source.get_data(level=1)
    assert caught.value.url == f"{url}/1"
    assert source.get_data(level=0).shape == DATA.shape
    group.create_group("1")
    with pytest.raises(DecodeError, match="is not what its metadata say"):
        source.get_data(level=1)
    group.create_array("1", data=DATA[0], overwrite=True)
    with pytest.raises(DecodeError, match="3 axes"):
        source.get_data(level=1)
    for names in ("cells", [5], ["../x"], ["none"], {"a": 1}, [["cells"]]):
        group["labels"].attrs["ome"] = {"version": "0.5", "labels": names}
        with pytest.raises(DecodeError):
            source.labels()


@pytest.mark.parametrize(
    "text", ["", "[", "[]", '{"zarr_format": 3}', '{"node_type": "group"}', "null", "\0"]
)
def test_broken_json_is_named(text, tmp_path):
    url = str(tmp_path / "a.ome.zarr")
    write(url, "0.5", {"multiscales": [multiscale()]})
    for name in ("1/zarr.json", "labels/zarr.json", "zarr.json"):
        (tmp_path / "a.ome.zarr" / name).write_text(text)
        source = cpr.OMEZarrSource.from_path(url)
        with pytest.raises(CprError):
            source.get_data(level=1)
            source.labels()


def _mutated(draw, value):
    """A JSON value with something wrong, or something else, somewhere inside."""
    if draw(st.integers(0, 5)) == 0 or not isinstance(value, (dict, list)) or not value:
        return draw(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(),
                st.text(max_size=5),
                st.lists(st.integers(-1, 3), max_size=5),
                st.just({}),
                st.just("../../x"),
            )
        )
    changed = copy.deepcopy(value)
    key = draw(st.sampled_from(sorted(changed) if isinstance(changed, dict) else list(range(len(changed)))))
    if draw(st.integers(0, 5)) == 0:
        del changed[key]
    else:
        changed[key] = _mutated(draw, changed[key])
    return changed


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_metadata_are_read_or_refused_by_name(data):
    url = "memory://mutated/a.ome.zarr"
    good = {"version": "0.5", "multiscales": [multiscale()], "omero": OMERO, "image-label": LABEL}
    if io.lookup(f"{url}/zarr.json") is None:
        write(url, "0.5", good)
    bad = data.draw(st.composite(lambda draw: _mutated(draw, good))())
    group = zarr.open_group(url)
    group.update_attributes({"ome": bad})
    source = cpr.OMEZarrSource.from_path(url)
    try:
        levels = source.levels()
        source.get_metadata()
        source.get_resolution()
        for level in levels:
            level.data[..., :1, :1]
    except CprError as error:
        assert error.url is not None
        assert str(error)


def test_targets_are_sources(base):
    target = cpr.OMEZarrTarget.from_path(f"{base}/a.ome.zarr", metadata={"axes": "CZYX", "unit": "nm"})
    target.set_data(DATA)
    target.add_labels("cells", DATA > 3)
    source = cpr.OMEZarrSource.from_path(target.persist().url)
    assert any(name.startswith("manifest") for name in source.version())
    assert np.array_equal(source.get_data(region=...), DATA)
    assert list(source.labels()) == ["cells"]
    plain = cpr.ZarrSource.from_path(f"{target.url}/0")
    assert np.array_equal(plain.get_data()[...], DATA)


@pytest.mark.slow
def test_the_fixtures_are_valid(tmp_path):
    """What these tests read is what others may write."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for version in ("0.4", "0.5"):
            url = str(tmp_path / f"{version}.zarr")
            write(url, version, {"multiscales": [multiscale()], "omero": {"channels": OMERO["channels"][:1]}})
            yaozarrs.validate_ome_uri(url)
