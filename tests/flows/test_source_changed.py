"""A source is replaced while a flow runs: a key names the version that its result was made of."""

from __future__ import annotations

import prefect
import pytest

import cpr
from cpr.errors import SourceChangedError
from tests.text_format import TextSource, TextTarget

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]

runs: list[str] = []


@cpr.task
def shout(source, base):
    target = TextTarget.from_path(f"{base}/out/shouted.txt")
    target.set_data(source.get_data().upper())
    runs.append(target.get_data())
    return target


@prefect.flow
def analyse(base, replacement=None, retries=0):
    sources = TextSource.glob(f"{base}/raw/*.txt")  # versions are asked for here
    if replacement is not None:
        with open(sources[0].get_path(), "w") as file:
            file.write(replacement)
    return shout.with_options(retries=retries)(sources[0], base)


@pytest.fixture
def base(tmp_path, results):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.txt").write_text("right")
    runs.clear()
    return tmp_path


def test_nothing_is_stored_under_the_key_of_another_version(base):
    with pytest.raises(SourceChangedError):
        analyse(str(base), "wrong")
    assert runs == []
    (base / "raw" / "a.txt").write_text("right")
    assert analyse(str(base)).get_data() == "RIGHT"
    assert analyse(str(base)).get_data() == "RIGHT"
    assert runs == ["RIGHT"]


def test_a_retry_has_the_key_of_the_new_version(base):
    assert analyse(str(base), "other", retries=1).get_data() == "OTHER"
    assert analyse(str(base)).get_data() == "OTHER"  # used again
    assert runs == ["OTHER"]
