"""Records of a hostile author: refused with RecordError, or resources inside the places that they name.

Nothing is imported, opened or connected to meanwhile. The full size runs with `--long`.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import posixpath
import string
import sys
import time
import uuid

import fsspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cpr.errors import CprError, RecordError
from cpr.io.clients.fsspec import path_on
from cpr.io.protocols import kind_of
from cpr.io.url_policy import require_safe, windows_objection
from cpr.io.url_secrets import redact_url, secret_in
from cpr.io.urls import join, normalise, protocol_of
from cpr.records.parse_json import parse
from cpr.records.registry import BUILT_IN, RECORD_KEY, load_record
from cpr.records.unpack import unpack
from tests.faults import untrusted_records
from tests.faults.untrusted_records import KEY16, LOCATIONS, ODD_LOCATIONS, RESOURCES, Author, names


def loaded(text):
    """What is made of a record's text, and the resources in it."""
    return unpack(parse(text))


def require_inside(location: str, name: str) -> None:
    """Fail if this place, which a record may name, is not a file of that name in that place."""
    url = join(location, name)
    protocol = protocol_of(location)
    assert kind_of(protocol).in_records
    assert location == normalise(location)
    assert "/" not in name and "\\" not in name
    assert name not in ("", ".", "..")
    assert not any(step in ("..", ".") for step in location.partition("://")[2].split("/"))
    if protocol == "file":
        assert os.path.abspath(url) == url
        assert os.path.dirname(url) == location
        return
    try:
        cls = fsspec.get_filesystem_class(protocol)
    except ImportError:
        return
    # What the store's client is asked for: the same name in the same folder.
    seen = path_on(cls, url)
    folder = str(cls._strip_protocol(location)).rstrip("/")
    assert seen == f"{folder}/{name}".removeprefix("" if seen.startswith("/") else "/"), (seen, folder)
    assert posixpath.normpath(seen).endswith(f"/{name}") or seen == name


def test_records_of_every_kind_are_tried():
    assert {record[RECORD_KEY]["type"] for record in RESOURCES} >= BUILT_IN.keys()
    for record in RESOURCES:
        assert load_record(record)


def _places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _places(item, (*path, key))


@pytest.mark.parametrize(
    "text", [KEY16, "(1,0123)u1", "(,)u1", "1e999", "9" * 5000], ids=lambda text: text[:16]
)
def test_text_that_numpy_takes_for_python_is_refused_in_any_field(text):
    """np.dtype evaluates what stands before a letter, and raises SyntaxError."""
    for record in RESOURCES:
        for path in _places(record[RECORD_KEY]):
            changed = copy.deepcopy(record)
            container = changed[RECORD_KEY]
            for key in path[:-1]:
                container = container[key]
            container[path[-1]] = text
            try:
                resource = load_record(changed)
            except RecordError:
                continue
            assert resource.get_path()


def count_outcomes(seed: int, count: int) -> dict[str, int]:
    untrusted_records.everything_loaded(loaded)
    author = Author(seed)
    counts = {"refused": 0, "accepted": 0}
    texts = [author.text() for _ in range(count)]
    with untrusted_records.watched() as events:
        results = []
        for text in texts:
            try:
                results.append(loaded(text)[1])
            except RecordError:
                results.append(None)
    assert [event for event in events if not untrusted_records.is_pythons_own(*event)] == []
    for resources in results:
        counts["refused" if resources is None else "accepted"] += 1
        for resource in resources or ():
            require_inside(resource.location, resource.url.removeprefix(join(resource.location, "")))
    return counts


@pytest.mark.own_process
def test_mutated_records():
    counts = count_outcomes(seed=1, count=2500)
    # Neither everything nor nothing is refused, or this would prove nothing.
    assert min(counts.values()) > 250, counts


@pytest.mark.own_process
@settings(max_examples=150)
@given(untrusted_records.anything())
def test_anything(value):
    untrusted_records.everything_loaded(loaded)
    with untrusted_records.watched() as events:
        for load in (load_record, unpack):
            try:
                load(value)
            except RecordError as error:
                assert str(error).isprintable()
    assert [event for event in events if not untrusted_records.is_pythons_own(*event)] == []


@pytest.mark.own_process
@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_a_million_mutated_records(seed):
    start = time.perf_counter()
    total = {"refused": 0, "accepted": 0}
    for part in range(10):
        for name, count in count_outcomes(seed=100 * seed + part, count=5000).items():
            total[name] += count
    print(f"seed {seed}: {total} in {time.perf_counter() - start:.0f} s")
    assert sum(total.values()) == 50_000
    assert min(total.values()) > 5_000


@pytest.mark.own_process
def test_the_watch_sees_what_it_is_for(tmp_path):
    with untrusted_records.watched() as events:
        open(tmp_path / "x", "w").close()
        with pytest.raises(ModuleNotFoundError):
            __import__("not_there_at_all")
    assert {"open", "import"} <= {event for event, _ in events}
    count = len(events)
    os.listdir(tmp_path)
    assert len(events) == count


@pytest.mark.own_process
def test_sixty_places_are_refused():
    assert len(LOCATIONS) >= 60
    untrusted_records.everything_loaded(loaded)
    with untrusted_records.watched() as events:
        for location in LOCATIONS:
            for record in (RESOURCES[0], RESOURCES[8], RESOURCES[-1]):
                with pytest.raises(RecordError) as caught:
                    load_record({RECORD_KEY: {**record[RECORD_KEY], "location": location}})
                assert caught.value.remedy
                assert str(caught.value).isprintable(), ascii(location)
    assert events == []


@pytest.mark.parametrize("location", ODD_LOCATIONS)
def test_odd_places_are_places(location):
    require_safe(location, "cell")
    require_inside(location, "cell-0123456789abcdef.tif")


def escapes(count: int, seed: int) -> tuple[int, int]:
    """How many names were taken and refused; raises for one that escapes."""
    places = [
        "/a b",
        "memory://x",
        "s3://bucket/x",
        "gs://bucket",
        "az://container/x",
        "hf://datasets/a/b",
        "sftp://known/x",
    ]
    taken = refused = 0
    for number, name in enumerate(names(count, seed)):
        location = places[number % len(places)]
        try:
            require_safe(location, name)
        except RecordError:
            refused += 1
            continue
        taken += 1
        require_inside(location, f"{name}-0123456789abcdef.tif")
        require_inside(location, name)
    return taken, refused


@pytest.fixture
def known_host(monkeypatch):
    monkeypatch.setitem(fsspec.config.conf, "sftp", {"host": "known, also.known"})


def test_no_name_escapes(known_host):
    taken, refused = escapes(3000, seed=1)
    assert min(taken, refused) > 500


@pytest.mark.long
def test_no_name_of_fifty_thousand_escapes(known_host):
    taken, refused = escapes(50_000, seed=2)
    print(f"{taken} names taken, {refused} refused")
    assert taken + refused == 50_000


def test_only_hosts_of_ones_own(known_host):
    for location in ("sftp://known/x", "sftp://me@also.known:2222/x", "ssh://KNOWN/x"):
        require_safe(location, "cell")
    for location in ("sftp://unknown/x", "sftp://known.evil/x", "sftp://known@evil/x", "smb://known/x"):
        with pytest.raises(RecordError, match=r"FSSPEC_\w+_HOST"):
            require_safe(location, "cell")


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("\\\\host\\share", "x"), ("//host/share", "x"), ("\\\\?\\C:\\x", "x"), ("\\\\.\\pipe", "x"),
        ("C:\\a", "con"),
        ("C:\\a", "AUX.b"), ("C:\\nul\\a", "x"), ("C:\\a.\\b", "x"), ("C:\\a \\b", "x"), ("C:\\a",
        "x:stream"), ("C:\\a", "x."),
        ("C:\\a:b", "x"), ("C:\\a", "x "), ("C:\\a", "LPT¹"), ("C:\\a", "x|y"), ("C:\\a",
        'x"'), ("C:\\a", "COM1.txt.tif"),
    ],
)  # fmt: skip
def test_what_windows_makes_more_of(location, name):
    assert windows_objection(location, name) is not None
    assert windows_objection("C:\\data\\results", "nuclei 1.5") is None
    assert windows_objection("C:\\", "console") is None


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:CANARY@bucket/a.txt", "s3://AKIA:CAN/ARY@bucket/a.txt", "s3://CANARY@bucket/a.txt",
        "gs://CANARY@bucket/a.txt",
        "sftp://me:CANARY@host/a.txt", "ftp://me:CAN/ARY@host/a.txt", "https://CANARY@host/a.txt",
        "https://h/a.txt?X-Amz-Credential=x&X-Amz-Signature=CANARY", "https://h/a.txt?sv=1&sig=CANARY",
        "https://h/a.txt?token=CANARY",
        "az://container/a.txt?sig=CANARY", "simplecache::s3://AKIA:CANARY@bucket/a.txt",
        "https://h?access_token=CANARY",
        "https://h/a.txt?key=CANARY", "https://h/a.txt?pwd=CANARY", "https://h/a.txt?pass=CANARY",
        "https://h/a.txt?jwt=CANARY", "https://h/a.txt?code=CANARY", "https://h/a.txt?sessionid=CANARY",
        "https://h/a.txt?Policy=CANARY&Key-Pair-Id=x", "https://h/a.txt?delegation=CANARY",
        "https://h/a.txt#access_token=CANARY", "https://h/a.txt;jsessionid=CANARY",
        "https://h/a.txt?sas=CANARY", "https://h/a.txt?passphrase=CANARY", "https://h/a.txt?keys=CANARY",
        "https://h/a.txt?cookie=CANARY", "https://h/a.txt?api_key_1=CANARY", "https://h/a.txt?creds=CANARY",
        "https://h/a.txt?url=https%3A%2F%2Fme%3ACANARY%40b%2Fx", "https://h/a.txt?pin=CANARY",
        "https://h/a.txt?bearer=CANARY", "https://h/a.txt?auth[key]=CANARY",
        "https://h/a.txt?upload_pw=CANARY", "https://h/a.txt?x[sign]=CANARY",
        "https://h/a.txt?x=1&account%4bey=CANARY", "https://h/a.txt?ghp_CANARYCANARY",
        "webhdfs://h/a.txt?delegation=CANARY", "sftp://ghp_CANARY@host/a.txt", "sftp://me:C/A/CANARY@host/a.txt",
        "https://h/a.txt?q=CANx7Kf92LmQp4RtZ8", "https://h/a.txt?q=CA0123456789abcdef0123456789abcdef",
        "https://h/a.txt?%2574oken=CANARY", "https://h/a.txt?to\u00adken=CANARY", "https://h/a.txt?\uff54oken=CANARY",
        "https://h/a.txt?q=token%3DCANARY", "https://h/a.txt?d=%7B%22password%22%3A%22CANARY%22%7D",
        "https://h/a.txt?next=https%253A%252F%252Fme%253ACANARY%2540b", "https://h/a.txt?passcode=CANARY",
        "https://h/a.txt?authcode=CANARY", "https://h/a.txt?oauth=CANARY", "https://h/a.txt?userpass=CANARY",
        "https://h/a.txt?dbpw=CANARY", "https://h/a.txt?SAMLResponse=CANARY", "https://h/a.txt?x=SG.CANARY",
        "s3://bucket/a.txt?AWSAccessKeyId=CANARY",
        "s3://AKIA:CANARY@bucket/\x00.txt", "nowhere://me:CANARY@host/a.txt",
        "https://h/a.txt?login=bob:CANARY", "https://h/a.txt?user=bob%3ACANARY", "https://h/a.txt?x=Bearer+CANARY",
        "https://h/a.txt?x=basic%20CANARY", "https://h/a.txt?h=Authorization:+Bearer+CANARY",
        "https:/me:CANARY@h/a.txt", "gs:/AKIA:CANARY@bucket/a.txt",
        f"https://h/ghp_{'CANARY' * 6}/a.txt", f"s3://bucket/glpat-CANARY{'x' * 14}/a.txt",
        f"s3://bucket/AKIA{'CANARY01' * 2}/{'CANARYab' * 5}/a.txt", "sftp://host/xoxb-1234-CANARYCANARYCANARY/a.txt",
        "memory://eyJhbGciOiJI.eyJzdWIiOiJCAN.CANARYCANARY/a.txt",
        f"gs://bucket/x=github_pat_{'CANARY' * 4}/a.txt",
        "https://h/a;sig=CANARY/a.txt", "https://h/sig=CANARY/a.txt", "https://h/x/token=CANARY/a.txt",
        "https://h/x,token=CANARY/a.txt", "https://h/x%3Fsig=CANARY/a.txt", "https://h/%73ig%3DCANARY/a.txt",
        "https://h/hdntl=exp=1~acl=/*~hmac=CANARY/a.txt", "https://h/key=CANx7Kf92LmQp4RtZ8/a.txt",
        "https://h/cdn_token=HS256-CANARY&expires=1&token_path=%2Fx/a.txt",
        "https://h/(S(canary55t21z5v55vlm25s55CAN))/a.txt", "https://h/token/CANx7Kf92LmQp4RtZ8/a.txt",
        f"https://h/file/bot123456789:{'CANARY' * 6}/a.txt", "webhdfs://h/delegation_token=CANARY/a.txt",
        "https://h/a.txt?upload_id=ABPtcPqCANx7Kf92LmQp4", "https://h/a.txt?mail=me@x.org&token=CANARY",
        "gs://bucket/a.txt?GoogleAccessId=me@x&Expires=1&Signature=CANARY", "s3://bucket/a&token=CANARY/a.txt",
        "s3://bucket/a.txt%3FX-Amz-Signature%3DCANARY", "s3://bucket/sig=CANx7Kf92LmQp4RtZ8/a.txt",
        "az://container/a.txt?sv=2020-08-04&sp=r&%73ig=CANARY", "az://container/a.txt%3Fsp=r%26sig=CANARY",
        "gs://bucket/a.txt?X-Goog-Credential=CANARY&X-Goog-Expires=9", "sftp://me:a?CANARY@host/a.txt",
        "s3://AKIA:a&CANARY@bucket/a.txt", "oss://bucket/a.txt?OSSAccessKeyId=x&Signature=CANARY",
    ],
)  # fmt: skip
def test_urls_with_secrets_are_refused_unseen(url):
    import cpr
    from cpr import io
    from tests.text_format import TextSource, TextTarget

    assert secret_in(url)
    assert "CAN" not in redact_url(url)
    attempts = [
        lambda: TextSource.from_path(url),
        lambda: TextTarget.from_path(url),
        lambda: TextSource.glob(url.replace("a.txt", "*.txt")),
        lambda: cpr.load(url),
        lambda: io.stat(url) if url.startswith(("s3", "sftp")) else normalise(url),
        lambda: require_safe(url.rpartition("/")[0], "a"),
        lambda: require_safe(url, "a"),
    ]
    for attempt in attempts:
        try:
            attempt()
        except CprError as error:
            assert "CAN" not in f"{error}{error!r}{error.__dict__}"
        else:
            assert attempt is attempts[-2]


@given(st.text(string.ascii_letters + string.digits, min_size=24, max_size=60), st.sampled_from("?;#&"))
def test_what_looks_like_chance_is_a_secret_whatever_it_is_called(text, mark):
    # Of 32 characters of base64, one text in some ten thousand looks like words.
    value = hashlib.sha512(text.encode()).digest()
    for token in (base64.b64encode(value), base64.urlsafe_b64encode(value[:48]), value[:16].hex().encode()):
        url = f"https://h/a.txt{'?x=1' if mark == '&' else ''}{mark}q={token.decode()}"
        assert secret_in(url)
        assert token.decode() not in redact_url(url)


SIGNED = [
    ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature", "X-Amz-Security-Token"),
    ("GoogleAccessId", "Expires", "Signature"),
    ("X-Goog-Algorithm", "X-Goog-Credential", "X-Goog-Signature"),
    ("sv", "se", "sr", "sp", "skoid", "sig"),
    ("AWSAccessKeyId", "Expires", "Signature"),
]
STORES = [
    "s3://b",
    "gs://b",
    "az://c",
    "abfss://c@a.dfs.core.windows.net",
    "oss://b",
    "https://h",
    "webhdfs://h",
]


@example("az://c", SIGNED[0], ["me@x.org"] * 6, "%3F", "%26", "000000")
@example("https://h", SIGNED[3], ["me@x.org"] * 4 + ["a;b", "1"], "%3F", "%26", "000000")
@given(
    st.sampled_from(STORES),
    st.sampled_from(SIGNED),
    st.lists(st.sampled_from(["me@x.org", "a:b@c", "1", "a/b", "a;b", "x#y"]), min_size=6, max_size=6),
    st.sampled_from(["?", ";", "%3F", "%253F", "&", "?x=me@y:1&"]),
    st.sampled_from(["&", "%26"]),
    st.text(string.ascii_letters + string.digits, min_size=6),
)
def test_signed_urls_of_every_store_are_refused_and_never_shown(store, names, fill, mark, between, text):
    """Whatever stands beside the signature, and however the marks are spelled."""
    value = f"CANARY{text}"
    between = "&" if mark in "?;&" else between
    parameters = between.join(f"{name}={one}" for name, one in zip(names[:-1], fill, strict=False))
    url = f"{store}/a/b.tif{mark}{parameters}{between}{names[-1]}={value}"
    assert secret_in(url)
    shown = redact_url(url)
    assert value not in shown
    assert not secret_in(shown)


@given(
    st.sampled_from(["https://h", "webhdfs://h", "hf://x"]),
    st.sampled_from("sig token access_token X-Amz-Signature sas jwt cdn_token password secret".split()),
    st.sampled_from("/,!~;"),
    st.text(string.ascii_letters + string.digits + "%", min_size=3).map(lambda text: f"CANARY{text}"),
    st.booleans(),
)
def test_secrets_in_steps_of_a_path_are_refused_and_never_shown(store, name, mark, value, is_encoded):
    equals = "%3D" if is_encoded else "="
    url = f"{store}/data/x{mark}{name}{equals}{value}/a.tif"
    assert secret_in(url)
    assert value not in redact_url(url)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("key code session token plate date policy id sig user".split()),
            st.one_of(st.integers(0, 99999), st.sampled_from(["CH", "a b", "x%3F", "B2"])),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["s3://b", "gs://b", "az://c", "https://h", "sftp://h", "memory://m"]),
)
def test_tables_in_parts_are_no_secret(parts, store):
    url = "/".join([store, *(f"{name}={value}" for name, value in parts), "part-0.parquet"])
    assert not secret_in(url)
    assert redact_url(url) == url


@example(["2026"] * 7 + ["A1"] * 5)
@example(["2026"] * 7)
@given(
    st.lists(st.sampled_from("the cell nuclei plate image final 2026 v2 Denoised A1".split()), max_size=12)
)
def test_words_and_numbers_are_no_secret(words):
    assert not secret_in(f"https://h/a.txt?q={'-'.join(words)}&r={''.join(words)}#{'_'.join(words)}")


@given(st.binary(min_size=8, max_size=64), st.sampled_from(["s3://b", "https://h", "memory://m", "sftp://h"]))
def test_names_made_of_content_are_no_secret(data, place):
    digest = hashlib.sha512(data).digest()
    names = [
        hashlib.sha256(data).hexdigest(),
        str(uuid.UUID(bytes=digest[:16])),
        base64.urlsafe_b64encode(data).decode(),
        base64.urlsafe_b64encode(digest).decode().rstrip("="),
        base64.b32encode(digest[:20]).decode(),
        base64.urlsafe_b64encode(json.dumps({"a": digest.hex()}).encode()).decode(),  # begins as tokens do
        f"{digest[:6].hex()}.{digest[6:12].hex()}.{digest[12:18].hex()}",
    ]
    for name in names:
        for url in (f"{place}/{name}/a.txt", f"{place}/a/{name}.tif", f"{place}/a/x-{name}.ome.zarr/0/c/1"):
            assert not secret_in(url)
            assert redact_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["https://h/a?time=12:30:05", "https://h/a?user=bob", "https://h/a?q=basic", "s3://bucket/AKIA/eyJ/ghp_x.tif",
     "s3://bucket/AKIAIOSFODNN7EXAMPLE.txt", "s3://bucket/token bearer/basic training.csv", "https://h/x?q=tokens+of+x",
     "s3://bucket/a@b/c:d.txt", "sftp://me@host:22/a.txt", "https://host/a.txt?download=1",
    "/a:b@c?sig=1.txt",
     "abfs://data@account/a.txt", "s3://bucket/a?b.txt", "memory://a:b@c.txt",
     "hf://datasets/a/b@main/c.txt", "https://h/a.txt?versionId=3sL4kqtJlcpXroDTDmJrmSpXd3dIbrHY",
     "https://h/uc?id=1FQ7xTzS2LmQp4RtZ8xKf92Lm&export=download", "https://h/a?name=NucleiSegmentationV2Final",
     "https://h/a?sha256=0123456789abcdef0123456789abcdef", "https://h/a?plate=cell20260101plate12well03field",
     "s3://bucket/a;b=1#c.txt", "https://h/a.zarr?format=zarr3#page=2", "https://h/a?key=",
     "https://h/a?next=https%3A%2F%2Fb%2Fx.tif%3Fpage%3D2", "https://h/a?q=a%3Db&t=2026-01-01T10%3A00",
     "https://h/a?mode=bypass&passes=3", "s3://bucket/key=secret/a.txt", "s3://bucket/token=cells/a.txt",
     "https://h/tokens/of/a.txt", "https://h/x(S(1))/a.txt", "s3://bucket/a%3Fsize%3D7.txt",
     "s3://b/session=550e8400-e29b-41d4-a716-446655440000/a.txt", "https://h/keys/Plate1-Well2.tif"],
)  # fmt: skip
def test_urls_without_secrets_are_not(url):
    assert not secret_in(url)
    assert redact_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        '{"__cpr__": {"type": "TextTarget", "type": "TextSource"}}', '{"a": 1e999}', '{"a": -1e999}',
        '{"a": NaN}',
        '{"a": ' + "9" * 5000 + "}", '{"__cpr__": ' + "[" * 100_000, "{" * 2000, '{"a": "\\ud800"',
        b"\xff\xfe", "",
    ],
    ids=lambda text: ascii(text)[:40],
)  # fmt: skip
def test_json_that_readers_disagree_about(text):
    import cpr

    with pytest.raises(RecordError):
        parse(text)
    if text:
        with pytest.raises(CprError):
            cpr.load(text)


def test_a_plug_in_is_imported_when_its_own_record_comes(tmp_path, monkeypatch):
    from cpr.records import registry

    (tmp_path / "plugged_in.py").write_text(
        "from tests.text_format import Text\nfrom cpr.Source import Source\n\n"
        "class PluggedSource(Source):\n    format_class = Text\n"
    )
    about = tmp_path / "plugged_in-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-in\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[cpr.resources]\nPluggedSource = plugged_in:PluggedSource\n")
    monkeypatch.syspath_prepend(tmp_path)
    record = RESOURCES[-1][RECORD_KEY]
    for other in ("plugged_in", "plugged_in:PluggedSource", "PluggedTarget", "pluggedsource"):
        with pytest.raises(RecordError):
            load_record({RECORD_KEY: {**record, "type": other}})
        assert "plugged_in" not in sys.modules
    try:
        source = load_record({RECORD_KEY: {**record, "type": "PluggedSource"}})
        assert type(source).__module__ == "plugged_in"
    finally:
        sys.modules.pop("plugged_in", None)
        registry._registered.pop("PluggedSource", None)


def test_a_record_behind_a_url_is_no_bomb(tmp_path):
    import cpr

    path = tmp_path / "record.json"
    with open(path, "wb") as file:
        file.write(b"{")
        file.truncate(1 << 40)
    with pytest.raises(RecordError, match="too large"):
        cpr.load(path)


CODE = {
    "validator": ["model", "tests.faults.test_untrusted_records:Watched", [["value", 1]], []],
    "settings": ["model", "prefect.settings.models.root:Settings", [], []],
    "setter": ["dataclass", "tests.faults.test_untrusted_records:Setting", [["value", 1]]],
    "destructor": ["dataclass", "tests.faults.test_untrusted_records:Leaving", [["value", 1]]],
    "missing": ["enum", "tests.faults.test_untrusted_records:Searching", 5],
    "class item": ["model", ["tests.faults.test_untrusted_records:Indexed", ["builtins:int"]], [], []],
    "zone": ["datetime", "2026-01-01", 0, "zipfile/evil"],
}
RUNS: list[str] = []


@pytest.mark.own_process
def test_no_code_of_a_class_runs():
    import prefect.settings.models.root  # noqa: F401 - a class with code of its own, and imported

    untrusted_records.everything_loaded(loaded)
    for name, packed in CODE.items():
        RUNS.clear()
        with untrusted_records.watched() as events:
            try:
                unpack({RECORD_KEY: packed})
            except RecordError:
                pass
            else:
                assert name in ("validator", "settings")
        assert events == [], name
        assert RUNS == [], name


def _classes():
    import dataclasses
    import enum

    from pydantic import BaseModel, field_validator, model_validator

    class Watched(BaseModel):
        value: int

        def __init__(self, **data):
            RUNS.append("init")
            super().__init__(**data)

        @field_validator("value")
        @classmethod
        def checked(cls, value):
            RUNS.append("validator")
            return value

        @model_validator(mode="after")
        def all_checked(self):
            RUNS.append("model validator")
            return self

        def model_post_init(self, context):
            RUNS.append("post init")

    @dataclasses.dataclass
    class Setting:
        value: int

    Setting.value = property(lambda self: 1, lambda self, value: RUNS.append("setter"))

    @dataclasses.dataclass
    class Leaving:
        value: int

        def __del__(self):
            RUNS.append("del")

    class Searching(enum.Flag):
        A = 1

        @classmethod
        def _missing_(cls, value):
            RUNS.append("missing")
            return cls.A

    class Indexed:
        def __class_getitem__(cls, item):
            RUNS.append("class item")
            return cls

    for cls in (Watched, Setting, Leaving, Searching, Indexed):
        cls.__module__, cls.__qualname__ = __name__, cls.__name__
        globals()[cls.__name__] = cls


_classes()


# ---- a record names types; nothing that it names is ever imported, importable or not


NAMING_TYPES = {
    "resource": lambda name: {RECORD_KEY: {"type": name, "location": "/a", "name": "x", "ext": ".txt"}},
    "resource by path": lambda name: {RECORD_KEY: {"type": f"{name}:Thing"}},
    "resource by dots": lambda name: {RECORD_KEY: {"type": f"{name}.Thing"}},
    "dataclass": lambda name: {RECORD_KEY: ["dataclass", f"{name}:Thing", []]},
    "named tuple": lambda name: {RECORD_KEY: ["namedtuple", f"{name}:Thing", []]},
    "model": lambda name: {RECORD_KEY: ["model", f"{name}:Thing", [], []]},
    "enum": lambda name: {RECORD_KEY: ["enum", f"{name}:Thing", "RED"]},
}


@pytest.mark.parametrize("record", NAMING_TYPES.values(), ids=NAMING_TYPES.keys())
def test_a_module_that_could_be_imported_is_not(record, tmp_path, monkeypatch):
    name = f"named_by_a_record_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "import dataclasses\n\n@dataclasses.dataclass\nclass Thing:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for load in (unpack, load_record):
        with pytest.raises(RecordError):
            load(record(name))
        assert name not in sys.modules
    # It could be: the test would notice.
    __import__(name)
    assert sys.modules.pop(name).Thing
