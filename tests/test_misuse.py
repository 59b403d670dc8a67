"""What people try and cpr does not offer: the error names the call that is meant, and that call works."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.errors import EncodeError, NoDataError, UsageError

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
