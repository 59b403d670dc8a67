"""Previews: what is shown, where it is kept, and that nothing depends on it."""

from __future__ import annotations

import math
import os
import time

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import cpr
from cpr import io
from cpr.errors import DecodeError
from cpr.previews.models import Head, Picture
from cpr.previews.thumbnails import PictureMaker, looks_like_labels
from tests.target_cases import TARGET_CASES


def pixels_of(preview: Picture) -> np.ndarray:
    return imagecodecs.png_decode(preview.png)


def stored(cls, url: str, data, **options):
    target = cls.from_path(url, **options)
    target.set_data(data)
    return cpr.load(target.persist().serialize())


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1000, 2000, shape, dtype=np.uint16)


@given(
    arrays.arrays(
        dtype=st.sampled_from(["bool", "u1", "i2", "u8", "f2", "f4", "f8", "c8"]),
        shape=arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6),
    )
)
def test_any_array_has_a_picture_or_none_and_never_an_error(array):
    found = stored(cpr.NumpyTarget, "memory://previews/any.npy", array).preview()
    if array.size == 0:
        assert found is None
    else:
        assert max(found.size) <= 256
        assert Picture.from_bytes(found.to_bytes()).size == found.size


def test_infinities_and_nans_do_not_spoil_the_contrast():
    array = np.linspace(0, 1, 10_000).reshape(100, 100)
    array[0, :3] = np.nan, np.inf, -np.inf
    shown = pixels_of(stored(cpr.ImageTarget, "memory://previews/nan.tif", array).preview())
    assert shown[-1, -1] == 255
    assert 100 < shown[50, 50] < 155


def test_of_z_the_maximum_is_shown_and_of_time_the_first():
    image = np.zeros((2, 5, 64, 64), "uint16")
    image[0, 3, 10, 20] = 900
    image[1, 2, 40, 50] = 900
    preview = stored(cpr.ImageTarget, "memory://previews/tz.tif", image, metadata={"axes": "TZYX"}).preview()
    shown = pixels_of(preview)
    assert shown[10, 20] == 255
    assert shown[40, 50] == 0
    assert preview.caption == "first of 2 along T, maximum over Z"


def test_channels_have_colours():
    image = np.zeros((2, 64, 64), "uint16")
    image[0, :32] = 500
    image[1, :, :32] = 500
    shown = pixels_of(
        stored(cpr.ImageTarget, "memory://previews/c.tif", image, metadata={"axes": "CYX"}).preview()
    )
    assert shown[10, 50].tolist() == [255, 0, 255]
    assert shown[50, 10].tolist() == [0, 255, 0]
    assert shown[10, 10].tolist() == [255, 255, 255]
    assert shown[50, 50].tolist() == [0, 0, 0]


def test_colours_stay_as_they_are():
    image = np.zeros((40, 50, 3), "uint8")
    image[...] = 10, 200, 30
    shown = pixels_of(stored(cpr.ImageTarget, "memory://previews/rgb.tif", image).preview())
    assert shown[5, 5].tolist() == [10, 200, 30]


def test_labels_have_colours_that_differ_and_a_black_background():
    labels = np.kron(np.arange(36).reshape(6, 6), np.ones((20, 20), int)).astype("uint16")
    shown = pixels_of(stored(cpr.ImageTarget, "memory://previews/labels.tif", labels).preview())
    assert shown[5, 5].tolist() == [0, 0, 0]
    assert len({tuple(shown[y, x]) for y in range(10, 120, 20) for x in range(10, 120, 20)}) == 36


@pytest.mark.parametrize(
    "crop",
    [
        np.kron(np.eye(8, dtype="uint8") * 255, np.ones((10, 10), "uint8")),  # a mask
        np.random.default_rng(0).poisson(20, (100, 100)).astype("uint8"),
        np.ones((100, 100), "uint16"),
        np.kron(np.arange(16.0).reshape(4, 4), np.ones((10, 10))),
    ],
    ids=["mask", "noise", "constant", "floats"],
)
def test_masks_noise_and_floats_are_no_labels(crop):
    assert not looks_like_labels(crop)


def test_a_table_shows_its_first_rows():
    frame = pd.DataFrame(
        {f"column {i}": np.arange(20) for i in range(12)},
        index=pd.Index([f"r{i}" for i in range(20)], name="id"),
    )
    head = stored(cpr.CSVTarget, "memory://previews/t.csv", frame).preview()
    assert head.columns[:2] == ("id", "column 0")
    assert head.rows[4][:2] == ("r4", "4")
    assert (len(head.rows), head.more_columns) == (5, 2)
    assert Head.from_bytes(head.to_bytes()) == head


def test_a_large_object_keeps_its_preview_beside_it_and_a_small_one_does_not(tmp_path):
    large = stored(cpr.ImageTarget, f"{tmp_path}/large.tif", noise(4, 800, 800))
    small = stored(cpr.ImageTarget, f"{tmp_path}/small.tif", noise(64, 64))
    kept = {name for name in os.listdir(tmp_path / ".cpr") if "preview" in name}
    assert kept == {f"{os.path.basename(large.url)}.preview.png"}
    assert small.preview().size == (64, 64)
    assert large.preview().png == (tmp_path / ".cpr" / kept.pop()).read_bytes()


@pytest.mark.parametrize("kind", TARGET_CASES, ids=lambda kind: kind.name)
def test_a_stream_is_looked_at_while_it_passes(kind, tmp_path):
    target = kind.target(str(tmp_path))
    target.set_data(kind.pieces(), **kind.announce)
    assert target.nbytes > io.SMALL_BYTES or kind.name in {"parquet", "csv.gz"}
    preview = cpr.load(target.serialize()).preview()
    assert isinstance(preview, target.format.preview_class)


def test_without_its_preview_a_large_image_is_sampled(tmp_path):
    target = stored(cpr.ImageTarget, f"{tmp_path}/stack.tif", noise(6, 600, 600))
    os.remove(io.sidecar_url(target.url, ".preview.png"))
    assert target.preview().size == (256, 256)
    assert cpr.ImageSource.from_path(target.url).preview().size == (256, 256)


@pytest.mark.parametrize("junk", [b"", b"<script>alert(1)</script>", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_something_else_in_the_place_of_a_preview_is_not_shown(tmp_path, junk):
    target = stored(cpr.CSVTarget, f"{tmp_path}/t.csv", pd.DataFrame({"a": np.arange(300_000)}))
    with open(io.sidecar_url(target.url, ".preview.json"), "wb") as file:
        file.write(junk)
    assert target.preview() is None
    with pytest.raises(DecodeError):
        Picture.from_bytes(junk.replace(bytes(100), bytes(12)) if junk else junk)


def test_a_picture_that_was_cut_is_none():
    png = imagecodecs.png_encode(np.zeros((9, 9), "uint8"))
    assert Picture.from_bytes(png).size == (9, 9)
    for count in range(24):
        with pytest.raises(DecodeError):
            Picture.from_bytes(png[:count])


def test_a_result_is_stored_though_its_preview_cannot_be(tmp_path, caplog):
    target = cpr.NumpyTarget.from_path(f"{tmp_path}/a.npy")
    target.set_data(noise(1000, 1000))
    # A folder stands where the preview should go.
    os.makedirs(io.sidecar_url(target.url, ".preview.png"))
    target.persist()
    assert "not its preview" in caplog.text
    assert (target.get_data() == noise(1000, 1000)).all()


def test_a_mistake_in_making_a_preview_costs_no_result(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(PictureMaker, "take", lambda *_: 1 / 0)
    target = stored(cpr.NumpyTarget, f"{tmp_path}/a.npy", noise(1000, 1000))
    assert "no preview could be made" in caplog.text
    assert (target.get_data() == noise(1000, 1000)).all()


def test_a_notebook_shows_picture_and_facts_and_no_markup_of_strangers():
    frame = pd.DataFrame({"<b>": ["<script>alert(1)</script>"]})
    shown = stored(cpr.CSVTarget, "memory://previews/markup.csv", frame)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    image = stored(cpr.ImageTarget, "memory://previews/facts.tif", noise(20, 30))
    assert 'src="data:image/png;base64,' in image._repr_html_()
    assert "20 x 30" in image._repr_html_()
    assert image.data_hash in image._repr_html_()
    assert image._repr_png_() == image.preview().png


def test_a_notebook_shows_why_there_is_nothing_to_be_seen():
    image = stored(cpr.ImageTarget, "memory://previews/gone.tif", noise(20, 30))
    io.remove(image.url)
    assert "there is no such object" in image._repr_html_()
    assert image._repr_png_() is None
    assert "CSVTarget" in cpr.CSVTarget.from_path("memory://previews/empty.csv")._repr_html_()


def test_previews_without_an_object_are_orphans(tmp_path):
    target = stored(cpr.NumpyTarget, f"{tmp_path}/a.npy", noise(1000, 1000))
    assert io.find_orphans(str(tmp_path)) == []
    os.remove(target.url)
    beside = [io.sidecar_url(target.url, ending) for ending in (".blocks", ".preview.png")]
    for path in beside:
        os.utime(path, (time.time() - 1e6,) * 2)
    assert [orphan.url for orphan in io.find_orphans(str(tmp_path))] == beside


def test_of_many_planes_few_are_wanted():
    maker = PictureMaker((7, 1000, 9, 100, 100), "uint16", "TZCYX")
    wanted = list(maker.positions())
    assert len(wanted) <= 16
    assert {position[0] for position in wanted} == {0}
    assert {position[2] for position in wanted} == set(range(6))
    assert math.isclose(np.mean([position[1] for position in wanted]), 500, abs_tol=100)


def test_zarr_is_looked_at_in_few_chunks(tmp_path):
    target = stored(cpr.ZarrTarget, f"{tmp_path}/a.zarr", noise(40, 300, 300), chunks=(1, 150, 150))
    assert target.preview().size == (256, 256)
    assert cpr.ZarrSource.from_path(target.url).preview().size == (256, 256)
    group = cpr.ZarrTarget.from_path(f"{tmp_path}/g.zarr")
    group.create().create_array("a", data=np.eye(3))
    assert group.persist().preview() is None
    assert cpr.ZarrTarget.from_path(f"{tmp_path}/none.zarr").preview() is None


def test_of_an_ome_zarr_a_small_level_is_looked_at(tmp_path):
    image = np.zeros((2, 1000, 1000), "uint16")
    image[0, :500] = 300
    image[1, :, :500] = 300
    target = cpr.OMEZarrTarget.from_path(f"{tmp_path}/a.ome.zarr", metadata={"axes": "CYX"})
    assert target.preview() is None
    target.set_data(image)
    shown = cpr.load(target.persist().serialize()).preview()
    assert max(shown.size) <= 256
    assert pixels_of(shown)[10, 10].tolist() == [255, 255, 255]
    assert cpr.OMEZarrSource.from_path(target.url).preview() == shown


def test_a_notebook_shows_what_a_file_says_of_itself():
    """The same of target and source: axes, pixel size, channels; no maximum over what is no Z."""
    kwargs = {"metadata": {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}}
    base = "memory://previews/said"
    data = np.arange(2 * 64 * 64, dtype="uint16").reshape(2, 64, 64)
    for target_class, source_class, ext in [
        (cpr.ImageTarget, cpr.ImageSource, ".tif"),
        (cpr.ImageTarget, cpr.ImageSource, ".ome.tif"),
        (cpr.OMEZarrTarget, cpr.OMEZarrSource, ".ome.zarr"),
    ]:
        target = target_class.from_path(base + ext, pixel_size=(0.65, 0.65), unit="micron", **kwargs)
        target.set_data(data)
        for resource in (target.persist(), cpr.load(target.serialize()), source_class.from_path(target.url)):
            shown = resource._repr_html_()
            for said in (
                "2 x 64 x 64",
                "uint16",
                "CYX",
                "0.65 x 0.65 micron",
                "DAPI, GFP",
                "2 of 2 channels",
            ):
                assert f">{said}<" in shown, (type(resource).__name__, said)


def test_what_cannot_be_read_is_told_in_place_of_the_picture():
    shown = cpr.ImageSource.from_path("memory://previews/missing.tif")._repr_html_()
    assert "there is no such object" in shown
    assert "ImageSource" in shown
