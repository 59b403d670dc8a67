"""Each id of a crate is of one thing alone, whatever records call their tasks, arguments and places."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cpr import io
from cpr.errors import RecordError
from cpr.operations.crate import export_crate
from cpr.operations.crate_terms import places_of_data, uri_of
from cpr.operations.records import Reference
from cpr.operations.resolve_references import as_disks_see
from tests.stored_flow import get, prefect_record, put

RUN = "0a" * 16
TASK_RUNS = ["0b" * 16, "0c" * 16]
DIGEST = "0123456789abcdef"
LICENCE = "https://spdx.org/licenses/CC0-1.0"


def _fields(url, made, ext=".tif", data_hash=DIGEST):
    """A target's record."""
    location, name = url.rsplit("/", 1)
    return {
        "type": "ZarrTarget" if ext == ".zarr" else "ImageTarget",
        "location": location,
        "name": name,
        "ext": ext,
        "key": DIGEST,
        "data_hash": data_hash,
        "checksum": f"xxh3_128:{DIGEST * 2}",
        "nbytes": 9,
        "made": {"flow_run": RUN, "at": 1_790_000_000, **made},
    }


def _crate(records, licence=LICENCE):
    """The entities of the crate of a run that has left these records."""
    folder = "memory://crate-of-hostile-names"
    for url in io.find(f"{folder}/**"):
        io.remove(url)
    for number, fields in enumerate(records):
        put(f"{folder}/records/{number:032x}", prefect_record({"__cpr__": fields}))
    done = export_crate(f"{folder}/records", RUN, f"{folder}/crate", licence=licence)
    assert not done.problems
    graph = json.loads(get(f"{folder}/crate/ro-crate-metadata.json"))["@graph"]
    assert json.loads(get(f"{folder}/crate/workflow.json"))["flow_run"] == RUN
    return graph, done


def _references(value):
    if isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        else:
            yield from (one for part in value.values() for one in _references(part))
    elif isinstance(value, list):
        yield from (one for part in value for one in _references(part))


def _require_sound(records, licence=LICENCE):
    """That a crate has one entity for each thing, and that what refers to a thing means that."""
    graph, done = _crate(records, licence)
    ids = [one["@id"] for one in graph]
    assert len(set(ids)) == len(ids), sorted(place for place in ids if ids.count(place) > 1)
    known = {one["@id"]: one for one in graph}
    for one in graph:
        assert set(_references(one)) <= {*ids, "https://w3id.org/ro/crate/1.1"}
        # What is no URL is a path or a fragment; each is one that RFC 3986 allows.
        assert one["@id"].isascii()
        assert not set(one["@id"]) & set(' "<>\\^`{|}')
        assert one["@id"].count("#") <= 1
        urlsplit(one["@id"])
    actions = [one for one in graph if one["@type"] == "CreateAction" and "result" in one]
    actions = [one for one in actions if one["@id"] != f"#flow-run-{RUN}"]
    assert len(actions) == done.actions
    told = {}
    for action in actions:
        for made in action["result"]:
            told[known[made["@id"]]["name"], made["@id"]] = action
    assert len(told) == done.results == len({json.dumps(one) for one in records})
    for fields in records:
        name = f"{fields['name']}-{fields['key']}{fields['ext']}"
        mine = [action for (called, _), action in told.items() if called == name]
        made = fields["made"]
        settings_of = [
            {known[one["@id"]]["name"]: known[one["@id"]]["value"] for one in action["object"]
             if known[one["@id"]]["@type"] == "PropertyValue"}
            for action in mine
        ]  # fmt: skip
        assert any(set(one) == set(made["inputs"]) for one in settings_of)
        if made.get("task") is not None:
            tools = [known[action["instrument"]["@id"]] for action in mine]
            assert made["task"] in [tool["name"] for tool in tools]
    return known


_PIECES = [
    "a", "-", "#", "%", "%23", "/", "//", ":", "..", "?", "&", "\\", " ", "ü", "u\u0308", "'", "\U0001f52c",
    "run-", "unknown", "sigma", "checksum", "data_hash", "digest", "etag", ".zarr", ".tif",
    DIGEST, *TASK_RUNS, RUN,
]  # fmt: skip
_NAMES = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=5).map("".join) | st.text(max_size=8)
_FILES = _NAMES.filter(lambda name: name and "/" not in name)
_PLACES = ["s3://b/", "https://h/", "/", "C:\\", "file:///", "x#y://", ""]
_URLS = st.one_of(
    st.builds("{}{}".format, st.sampled_from(_PLACES), _NAMES),
    st.sampled_from(
        [
            "https://www.prefect.io",
            "https://w3id.org/ro/wfrun/process/0.5",
            LICENCE,
            "ro-crate-metadata.json",
            "./",
            "s3://b/x.zarr",
            "s3://b/x.zarr/",
            f"s3://b/a-{DIGEST}.tif",
            f"s3://b/a-{DIGEST}.tif#checksum",
            f"#flow-run-{RUN}",
        ]
    ),
)  # fmt: skip
_INPUTS = st.dictionaries(
    _NAMES,
    st.one_of(
        st.integers(0, 9),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["ImageSource", "ZarrSource"]),
                "url": _URLS,
                "version": st.dictionaries(_NAMES, st.just("1"), max_size=2),
            }
        ),
    ),
    max_size=3,
)
_MADE = st.fixed_dictionaries(
    {"inputs": _INPUTS},
    optional={
        "task": _NAMES,
        "source": st.just(DIGEST),
        "task_run": st.sampled_from(TASK_RUNS),
        "flow": _NAMES,
    },
)
_TARGETS = st.builds(
    _fields,
    st.builds("{}/{}".format, st.sampled_from(["s3://b", "s3://b/c", "/r"]), _NAMES),
    _MADE,
    st.sampled_from([".tif", ".tif", ".zarr", ".TIF"]),
)


def _acceptable(fields):
    try:
        Reference.of(dict(fields))
    except RecordError:
        return False
    return True


def _settings(*inputs):
    """One record whose task had these arguments."""
    return [_fields("s3://b/a", {"task": "t", "task_run": TASK_RUNS[0], "inputs": dict(inputs)})]


def _source(url, **version):
    return {"type": "ZarrSource", "url": url, "version": version or {"etag": "1"}}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(_TARGETS.filter(_acceptable), min_size=1, max_size=4, unique_by=lambda one: Reference(one).url)
)
@example(_settings(("a", _source("https://www.prefect.io"))))
@example(_settings(("a", _source("s3://b/x.zarr")), ("b", _source("s3://b/x.zarr/"))))
@example(_settings(("a", _source("s3://b/x.tif", **{"a#b": "1"})), ("b", _source("s3://b/x.tif#a", b="1"))))
@example(_settings(("a", _source("C:\\a")), ("b", _source("/C:\\a"))))
@example(
    [
        # A task that is called as the argument of a run, and a run of which only the result is known.
        _fields(
            "s3://b/a", {"task": f"run-{TASK_RUNS[0]}", "task_run": TASK_RUNS[0], "inputs": {"unknown": 1}}
        ),
        _fields("s3://b/c", {"task": "t", "inputs": {f"c-{DIGEST}.tif": 1}}),
    ]
)  # fmt: skip
def test_each_id_is_of_one_thing(records):
    # A task of one run has one text and one set of arguments, as Prefect has it.
    runs = [one["made"]["task_run"] for one in records if "task_run" in one["made"]]
    assume(len(set(runs)) == len(runs))
    for fields in records:
        # Sources without a place are none; what holds one is no setting.
        for name, one in list(fields["made"]["inputs"].items()):
            assume(not isinstance(one, dict) or one["url"])
            assume(name != "")
    _require_sound(records)


@pytest.mark.parametrize(
    "licence",
    ["https://www.prefect.io", "./", f"#flow-run-{RUN}", f"s3://b/a-{DIGEST}.tif", "#task-t-unknown"],
)
def test_whatever_licence_is_named(licence):
    known = _require_sound(_settings(("sigma", 1)), licence)
    assert known["./"]["license"] == {"@id": licence}


def test_ordinary_names_are_their_ids():
    made = {"task": "segment", "source": DIGEST, "task_run": TASK_RUNS[0]}
    inputs = {"sigma": 2, "image": _source("s3://raw/cell 1.tif")}
    known = _require_sound([_fields("s3://b/mask ü", {**made, "inputs": inputs})])
    mask = f"s3://b/mask%20%C3%BC-{DIGEST}.tif"
    assert {one for one in known if "w3id.org" not in one} == {
        "ro-crate-metadata.json",
        "./",
        "workflow.json",
        "https://www.prefect.io",
        LICENCE,
        f"#flow-run-{RUN}",
        f"#task-segment-{DIGEST}",
        f"#task-run-{TASK_RUNS[0]}",
        f"#task-run-{TASK_RUNS[0]}-sigma",
        f"#task-run-{TASK_RUNS[0]}-image",
        mask,
        f"{mask}#checksum",
        f"{mask}#data_hash",
        "s3://raw/cell%201.tif",
        "s3://raw/cell%201.tif#etag",
    }


@settings(max_examples=300, deadline=None)
@given(st.lists(st.builds("s3://b{}a/{}".format, _NAMES, _FILES), unique=True))
def test_each_copy_has_a_place_of_its_own(urls):
    places = places_of_data(urls)
    assert set(places) == set(urls)
    assert len({as_disks_see(place) for place in places.values()}) == len(urls)
    # No file is where another needs a folder.
    folders = {as_disks_see(place.rpartition("/")[0]) for place in places.values()}
    assert not folders & {as_disks_see(place) for place in places.values()}


def test_copies_whose_digests_were_made_to_be_alike(monkeypatch):
    monkeypatch.setattr("cpr.operations.crate_terms.hex16", lambda _: DIGEST)
    places = places_of_data(["s3://a/x.tif", "s3://b/X.tif", "s3://c/x.tif", "s3://c/y.tif"])
    assert list(places.values()) == [
        f"data/{DIGEST}/x.tif",
        f"data/{DIGEST}-2/X.tif",
        f"data/{DIGEST}-3/x.tif",
        "data/y.tif",
    ]


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_any_text_has_a_uri_of_its_own(first, second):
    assert uri_of(f"s3://{first}").isascii()
    assert (uri_of(f"s3://{first}") == uri_of(f"s3://{second}")) == (first == second)
