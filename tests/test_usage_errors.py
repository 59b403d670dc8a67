"""What people try and cpr does not offer: the error names the call that is meant, and that call works."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import Future
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.errors import EncodeError, NoDataError, RecordError, UsageError

IMAGE = np.arange(12, dtype="uint8").reshape(3, 4)


@pytest.fixture
def url(tmp_path) -> str:
    """Of a TIFF."""
    target = cpr.ImageTarget.from_path(tmp_path / "cell.tif")
    target.set_data(IMAGE)
    return target.persist().url


@pytest.fixture(params=[cpr.ImageTarget, cpr.ImageSource])
def resource(request, url):
    if request.param is cpr.ImageSource:
        return cpr.ImageSource.from_path(url)
    target = cpr.ImageTarget.from_path(f"{url.rpartition('/')[0]}/other.tif")
    target.set_data(IMAGE)
    return target


@pytest.mark.parametrize(
    "call",
    [
        np.asarray,
        np.array,
        np.mean,
        lambda resource: np.zeros((3, 4)) + resource,
        lambda resource: np.asarray(resource, dtype="uint8"),
        lambda resource: resource.shape,
        lambda resource: resource.dtype,
        lambda resource: resource.values,  # noqa: PD011
        lambda resource: resource.read(),
    ],
)
def test_its_data_is_meant(resource, call):
    with pytest.raises(UsageError, match=r"get_data\(\)"):
        call(resource)
    assert np.array_equal(np.asarray(resource.get_data()), IMAGE)


def test_resources_can_be_held_by_arrays_and_tables(resource):
    assert list(np.array([resource, resource], dtype=object)) == [resource, resource]
    held = np.empty(2, object)
    held[:] = [resource, resource]
    assert held[1] is resource
    frame = pd.DataFrame({"name": ["a"], "target": [resource]})
    assert frame["target"][0] is resource
    assert pd.Series([resource])[0] is resource


def test_other_names_are_missing_as_ever(resource):
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = resource.nonsense
    assert not hasattr(resource, "shape")
    for again in (copy.copy(resource), pickle.loads(pickle.dumps(resource))):
        assert np.array_equal(again.get_data(), IMAGE)


@pytest.mark.parametrize("name", ["ImageTarget", "ImageSource", "CSVTarget", "ZarrTarget", "OMEZarrTarget"])
def test_a_path_alone_makes_none(name, tmp_path):
    cls = getattr(cpr, name)
    path = f"{tmp_path}/a{cls.format_class.extensions[0]}"
    with pytest.raises(UsageError) as failure:
        cls(path)
    made = eval(failure.value.remedy, {name: cls})  # the remedy is a call
    assert made.name == "a"


@pytest.mark.parametrize("name", ["ImageTarget", "ImageSource", "CSVSource", "NumpyTarget"])
def test_data_make_a_target(name, tmp_path):
    data = pd.DataFrame({"a": [1]}) if name.startswith("CSV") else IMAGE
    with pytest.raises(UsageError) as failure:
        getattr(cpr, name)(data)
    ext = {"I": ".tif", "C": ".csv", "N": ".npy"}[name[0]]
    known = {"data": data, "path": f"{tmp_path}/a{ext}"}
    exec(failure.value.remedy, vars(cpr) | known, known)  # the remedy is code
    assert known["target"].persist().nbytes > 0


def test_sources_are_not_written(url):
    source = cpr.ImageSource.from_path(url)
    for call in (lambda: source.set_data(IMAGE), lambda: source.persist()):
        with pytest.raises(UsageError, match="make a target"):
            call()
    assert not hasattr(source, "set_data")


def test_files_are_found_by_sources(url):
    folder = url.rpartition("/")[0]
    with pytest.raises(UsageError) as failure:
        cpr.ImageTarget.glob(f"{folder}/*.tif")
    call = failure.value.remedy.partition(";")[0]
    assert [source.url for source in eval(call, {"ImageSource": cpr.ImageSource})] == [url]


def test_a_file_that_exists_is_read_by_a_source(url):
    with pytest.raises(NoDataError, match=r"ImageSource.from_path\(url\)"):
        cpr.ImageTarget.from_path(url).get_data()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("cell.tif", "ImageSource"),
        ("cell.ome.tiff", "ImageSource"),
        ("CELL.TIF", "ImageSource"),
        ("cells.csv", "CSVSource"),
        ("cells.parquet", "ParquetSource"),
        ("a.npy", "NumpySource"),
        ("a.ome.zarr", "OMEZarrSource"),
        ("a.zarr", "ZarrSource"),
    ],
)
def test_data_is_no_record(name, source, tmp_path):
    with pytest.raises(UsageError) as failure:
        cpr.load(f"{tmp_path}/{name}")
    call = failure.value.remedy.partition(" reads")[0]
    assert type(eval(call, {"cpr": cpr})) is getattr(cpr, source)


@pytest.mark.parametrize("name", ["ImageTarget", "NumpyTarget", "CSVTarget", "ParquetTarget"])
@pytest.mark.parametrize(
    ("data", "meant"),
    [(None, "give the data itself"), ("raw/cell.tif", "read the file first"), ("resource", "give its data")],
)
def test_what_is_no_data_is_told_from_an_iterable(name, data, meant, url, tmp_path):
    cls = getattr(cpr, name)
    target = cls.from_path(f"{tmp_path}/a{cls.format_class.extensions[0]}")
    with pytest.raises(EncodeError, match=meant):
        target.set_data(cpr.ImageSource.from_path(url) if data == "resource" else data)


def test_a_url_is_taken_for_a_source_that_a_model_or_a_flow_asks_for(url):
    from pydantic import TypeAdapter, ValidationError

    taken = TypeAdapter(cpr.ImageSource)
    assert np.array_equal(taken.validate_python(url).get_data(), IMAGE)
    assert np.array_equal(taken.validate_json(f'"{url}"').get_data(), IMAGE)
    with pytest.raises(ValidationError):
        TypeAdapter(cpr.ImageTarget).validate_python(url)


OPERATIONS = {
    "image > 1": lambda one: one > 1,
    "image <= 1": lambda one: one <= 1,
    "image - image": lambda one: one - IMAGE,
    "image + 1": lambda one: one + 1,
    "2 * image": lambda one: 2 * one,
    "image / 2": lambda one: one / 2,
    "image ** 2": lambda one: one**2,
    "image & image": lambda one: one & IMAGE,
    "-image": lambda one: -one,
    "~image": lambda one: ~one,
    "image @ image": lambda one: one @ IMAGE.T,
    "image[0]": lambda one: one[0],
    "image['a']": lambda one: one["a"],
    "for plane in image": list,
    "3 in image": lambda one: 3 in one,
    "np.stack": lambda one: np.stack([one, one]),
    "np.save": lambda one: np.save(f"{one.location}/x.npy", one),
    "astype": lambda one: one.astype("float32"),
    "max": lambda one: one.max(),
    "ndim": lambda one: one.ndim,
    "T": lambda one: one.T,
    "copy": lambda one: one.copy(),
    "columns": lambda one: one.columns,
    "head": lambda one: one.head(),
    "iloc": lambda one: one.iloc[0],
    "to_numpy": lambda one: one.to_numpy(),
    "compute": lambda one: one.compute(),
    "load": lambda one: one.load(),
    "open": lambda one: one.open(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_arrays_and_tables_can_do_is_meant_of_the_data(resource, operation):
    with pytest.raises(UsageError, match=r"get_data\("):
        OPERATIONS[operation](resource)


@pytest.mark.parametrize("name", ["path", "uri", "filename", "filepath"])
def test_its_place_is_meant(resource, name):
    assert not hasattr(resource, name)
    with pytest.raises(UsageError, match=r"get_path\(\)"):
        getattr(resource, name)
    assert resource.get_path() == resource.url


@pytest.mark.parametrize("name", ["save", "write", "store", "upload"])
def test_it_is_meant_to_be_stored(resource, name):
    meant = (
        "make a target" if isinstance(resource, cpr.ImageSource) else r"set_data\(data\), then persist\(\)"
    )
    with pytest.raises(UsageError, match=meant):
        getattr(resource, name)(IMAGE)


def test_resources_are_sorted_by_their_urls(url):
    one, other = cpr.ImageSource.from_path(url), cpr.ImageSource.from_path(f"{url}f")
    with pytest.raises(UsageError, match=r"key=lambda one: one.url"):
        sorted([other, one])
    assert sorted([other, one], key=lambda one: one.url) == [one, other]


def test_a_resource_is_a_mapping_of_what_is_shown(resource):
    assert dict(resource) == {"type": type(resource).__name__, "url": resource.url}


KINDS = [
    name for name in cpr.__all__ if name.endswith(("Source", "Target")) and name not in ("Source", "Target")
]
NO_PATHS = {
    "None": (lambda url: None, "no resource"),
    "a number": (lambda url: 3, "pathlib.Path"),
    "a list": (lambda url: [url], "one call for each"),
    "a tuple": (lambda url: (url, url), "one call for each"),
    "a record": (lambda url: cpr.ImageSource.from_path(url).serialize(), r"cpr.load\(record\)"),
    "a resource": (cpr.ImageSource.from_path, r"get_path\(\)"),
    "an array": (lambda url: IMAGE, r"set_data\(data\)|set_data\(array\)"),
    "a class": (lambda url: cpr.ImageSource, "get_path|pathlib.Path"),
}


@pytest.mark.parametrize("given", NO_PATHS)
@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_path_makes_no_name(name, given, url):
    """Its text would: a folder's file "None" was read, and written."""
    make, meant = NO_PATHS[given]
    with pytest.raises(UsageError, match=meant):
        getattr(cpr, name).from_path(make(url))
    with pytest.raises(UsageError):
        getattr(cpr, name)(make(url))


def test_other_spellings_of_paths_are_paths(url, tmp_path):
    from pydantic import AnyUrl
    from upath import UPath

    for path in (tmp_path / "cell.tif", UPath(tmp_path / "cell.tif"), f"{tmp_path}/cell.tif".encode()):
        assert cpr.ImageSource.from_path(path).url == f"{tmp_path}/cell.tif"
    assert cpr.ImageSource.from_path(UPath("memory://a/b.tif")).url == "memory://a/b.tif"
    assert cpr.ImageSource.from_path(AnyUrl("s3://bucket/b.tif")).url == "s3://bucket/b.tif"


@pytest.mark.parametrize("name", ["ImageTarget", "CSVSource", "ZarrSource"])
@pytest.mark.parametrize("word", ["path", "url"])
def test_words_for_a_path(name, word):
    with pytest.raises(UsageError, match=rf"{name}.from_path\('memory://a/b.tif'\)"):
        getattr(cpr, name)(**{word: "memory://a/b.tif"})


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda url: cpr.Source.from_path(url), "ImageSource.from_path"),
        (lambda url: cpr.Target.from_path(url), "ImageTarget.from_path"),
        (lambda url: cpr.Resource.from_path("a.csv"), "CSVSource.from_path"),
        (lambda url: cpr.Source.glob("memory://a/*.parquet"), "ParquetSource.glob"),
    ],
)
def test_the_base_of_all_is_no_kind_of_file(call, meant, url):
    with pytest.raises(UsageError) as failure:
        call(url)
    assert failure.value.remedy.startswith(meant)


WRONG_DATA = {
    "a future": (lambda url: Future(), r"future.result\(\)"),
    "a record": (lambda url: cpr.ImageSource.from_path(url).serialize(), r"cpr.load\(record\).get_data\(\)"),
    "a function": (lambda url: np.zeros, r"set_data\(function\(\)\)"),
    "a class": (lambda url: int, r"set_data\(function\(\)\)"),
    "bytes": (lambda url: b"II*", "decode the bytes"),
    "an open file": (lambda url: BytesIO(b"II*"), "decode the bytes"),
    "a list of resources": (lambda url: [cpr.ImageSource.from_path(url)], r"get_data\(\)|pandas.DataFrame"),
}


@pytest.mark.parametrize("data", WRONG_DATA)
@pytest.mark.parametrize(
    "name", ["ImageTarget", "NumpyTarget", "CSVTarget", "ParquetTarget", "ZarrTarget", "OMEZarrTarget"]
)
def test_other_wrong_data(name, data, url, tmp_path):
    make, meant = WRONG_DATA[data]
    cls = getattr(cpr, name)
    target = cls.from_path(f"{tmp_path}/a{cls.format_class.extensions[0]}")
    with pytest.raises((EncodeError, UsageError), match=meant):
        target.set_data(make(url))
    assert target.data_hash is None


@pytest.mark.parametrize("name", ["ImageTarget", "NumpyTarget"])
@pytest.mark.parametrize(
    ("data", "meant"),
    [
        (pd.DataFrame({"a": [1]}), "CSVTarget"),
        ({"a": IMAGE}, "each of its values"),
        ({1, 2}, "numpy array"),
        (object(), "numpy array"),
    ],
)
def test_data_that_no_array_holds(name, data, meant, tmp_path):
    cls = getattr(cpr, name)
    with pytest.raises(EncodeError, match=meant):
        cls.from_path(f"{tmp_path}/a{cls.format_class.extensions[0]}").set_data(data)


@pytest.mark.parametrize("data", [IMAGE, pd.DataFrame({"a": [1, 2]}), [IMAGE], {}, None, "a.tif"])
def test_a_plate_is_filled_with_images(data, tmp_path):
    plate = cpr.OMEPlateTarget.from_path(tmp_path / "a.ome.zarr")
    with pytest.raises(UsageError, match=r"plate.set_data\("):
        plate.set_data(data)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (lambda url: cpr.ImageSource.from_path(url), "use it as it is"),
        (lambda url: [cpr.ImageSource.from_path(url).serialize()], "one call for each"),
        (lambda url: None, r"serialize\(\)"),
        (lambda url: Future(), r"future.result\(\)"),
        (lambda url: IMAGE, r"serialize\(\)"),
        (lambda url: f"{url.rpartition('/')[0]}/*.tif", r"ImageSource.glob"),
    ],
)
def test_what_is_no_record(given, meant, url):
    with pytest.raises(UsageError, match=meant):
        cpr.load(given(url))


def test_a_file_of_data_is_not_to_be_deleted(tmp_path):
    """As a record would be that cannot be read."""
    path = tmp_path / "cell.png"
    path.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(RecordError, match="a source of its kind") as failure:
        cpr.load(path)
    assert "delete" not in failure.value.remedy


@pytest.mark.parametrize(
    ("annotation", "given", "meant"),
    [
        (cpr.ImageSource, lambda url: None, r"ImageSource \| None"),
        (cpr.ImageSource, lambda url: [url], r"list\[ImageSource\]"),
        (cpr.ImageSource, lambda url: 3, "give the resource"),
        (cpr.ImageSource, lambda url: "", "not a usable path"),
        (cpr.ImageSource, lambda url: "nosuch://bucket/a.tif", "no such protocol"),
        (cpr.ImageTarget, lambda url: url, "annotate ImageSource"),
        (cpr.CSVTarget, lambda url: "a.csv", "annotate CSVSource"),
        (cpr.ImageTarget, cpr.ImageSource.from_path, r"ImageTarget \| ImageSource"),
        (cpr.Source, lambda url: url, "ImageSource.from_path"),
        (cpr.Resource, lambda url: url, "annotate ImageSource"),
    ],
)
def test_what_a_parameter_would_have_to_be(annotation, given, meant, url):
    from pydantic import TypeAdapter, ValidationError

    with pytest.raises(ValidationError, match=meant):
        TypeAdapter(annotation).validate_python(given(url))


@pytest.mark.parametrize(
    ("annotation", "given", "made"),
    [
        (list[cpr.ImageSource], lambda url: [url], list),
        (tuple[cpr.ImageSource, ...], lambda url: (url, url), tuple),
        (dict[str, cpr.ImageSource], lambda url: {"a": url}, dict),
        (cpr.ImageSource | None, lambda url: url, cpr.ImageSource),
        (cpr.ImageSource | None, lambda url: None, type(None)),
        (cpr.CSVSource | cpr.ImageSource, lambda url: url, cpr.ImageSource),
        (cpr.ImageTarget | cpr.ImageSource, lambda url: url, cpr.ImageSource),
        (cpr.ImageSource, Path, cpr.ImageSource),
        (cpr.ImageSource | str, lambda url: "", str),
        (str | None, lambda url: url, str),
    ],
)
def test_urls_where_sources_are_asked_for(annotation, given, made, url):
    from pydantic import TypeAdapter

    assert isinstance(TypeAdapter(annotation).validate_python(given(url)), made)
