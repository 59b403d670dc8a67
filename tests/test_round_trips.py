"""What was set comes back equal: any data of every format, on every backend."""

from __future__ import annotations

import json
import uuid

import hypothesis.extra.numpy as st_numpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cpr
from tests.array_cases import same as same_array
from tests.data.tables.frames import frames
from tests.data.tables.frames import same as same_frame

TIFF_DTYPES = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]
TIFF_OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["zlib", "zstd", "lzw", None]),
        "imagej": st.sampled_from([None, False]),
        "resolution": st.sampled_from([None, (7.5, 7.5)]),
    }
)


@st.composite
def arrays(draw):
    """0- to 6-dimensional, also empty, big-endian, not contiguous."""
    dtype = np.dtype(draw(st.sampled_from(TIFF_DTYPES))).newbyteorder(draw(st.sampled_from("<>")))
    array = draw(
        st_numpy.arrays(dtype, st_numpy.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=4))
    )
    if array.ndim and draw(st.booleans()):
        array = array.T[..., :: draw(st.sampled_from([1, 2, -1]))]
    return array


FORMATS = {
    "tiff": (cpr.ImageTarget, [".tif", ".tiff"], arrays(), TIFF_OPTIONS, same_array),
    "npy": (cpr.NumpyTarget, [".npy"], arrays(), st.just({}), same_array),
    "csv": (cpr.CSVTarget, [".csv", ".csv.gz"], frames(), st.just({}), same_frame),
    "parquet": (cpr.ParquetTarget, [".parquet"], frames(), st.just({}), same_frame),
}


@pytest.fixture(scope="module", params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def base(request, tmp_path_factory):
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    if request.param == "local":
        return str(tmp_path_factory.mktemp("laws"))
    return f"s3://{request.getfixturevalue('s3_server').bucket}/{uuid.uuid4().hex}"


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_what_was_set_comes_back(name, base, data):
    cls, extensions, values, options, same = FORMATS[name]
    value = data.draw(values)
    target = cls.from_path(f"{base}/a{data.draw(st.sampled_from(extensions))}", **data.draw(options))
    target.set_data(value)
    identity = target.identity()
    record = json.dumps(target.serialize())
    again = cpr.load(record)
    assert same(again.get_data(), value)
    assert again.identity() == identity
    # Equal data meets at the same object, whatever its layout in memory.
    twin = cls.from_path(f"{base}/a{target.ext}", **{f: getattr(target.format, f) for f in _options(target)})
    twin.set_data(value.copy())
    assert twin.url == target.url
    assert twin.persist().checksum == target.checksum


def _options(target) -> list[str]:
    return ["compression", "imagej", "resolution"] if isinstance(target, cpr.ImageTarget) else []
