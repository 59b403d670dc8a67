"""Records and previews of strangers: each is told of in a line, stops no other, and speaks to no terminal."""

from __future__ import annotations

import html.parser
import json
import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

import cpr
from cpr.cli.app import run
from cpr.operations.ls import list_results
from tests.stored_flow import put, store

ESC = "\x1b]0;PWNED\x07\x1b[31mRED\x1b[2J\x9b31m"
BIDI = "\u202etxt.exe\u2066\u200b"
MARKUP = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'`|[x](javascript:alert(3))"
FORBIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def prefect(record: Any, **metadata: Any) -> str:
    known = {"storage_key": "k", "serializer": {"type": "cpr"}, "prefect_version": "3.8.8", **metadata}
    return json.dumps({"metadata": known, "result": json.dumps(record)})


def changes() -> dict[str, dict[str, Any]]:
    """Fields of a record of an array, by a name for what is odd about them."""
    at = {"task": "t", "inputs": {"x": 1}}
    return {
        "option": {"opt\x1b[31m": ESC},
        "metadata": {"metadata": {ESC: BIDI}},
        "inputs": {
            "made": {
                "task": MARKUP,
                "flow": MARKUP,
                "flow_run": "0" * 32,
                "at": 1_795_500_000,
                "inputs": {MARKUP[:90]: "str=" + MARKUP[:100], "v": f"ImageSource 0123456789abcdef {BIDI}"},
            }
        },
        "task": {"made": {"task": BIDI, "at": 1_795_500_000}},
        "task escapes": {"made": {"task": ESC}},
        "name": {"name": MARKUP.replace("/", "")},
        "name escapes": {"name": "n" + ESC},
        "type": {"type": ESC},
        "ext": {"ext": ESC},
        "location": {"location": ESC},
        "checksum": {"checksum": ESC},
        "size": {"nbytes": ESC},
        "huge size": {"nbytes": (1 << 63) - 1},
        "time 2**62": {"made": {**at, "at": 1 << 62}},
        "time before": {"made": {**at, "at": -1}},
        "year 10000": {"made": {**at, "at": 253_402_300_800}},
        "last second of 9999": {"made": {**at, "at": 253_402_300_799}},
        "time in 9998": {"made": {**at, "at": 253_370_000_000}},
        "deep option": {"metadata": {"a": json.loads("[" * 150 + "]" * 150)}},
        "deep in a deep": {"metadata": json.loads('{"a":' * 90 + "1" + "}" * 90)},
    }


TEXTS = {
    "wrong serializer": '{"metadata": {"serializer": {"type": "\\u001b[31mfoo"}}, "result": "x"}',
    "deep": '{"__cpr__":' + "[" * 5000 + "]" * 5000 + "}",
    "deeper": json.dumps(
        {
            "metadata": {"serializer": {"type": "cpr"}},
            "result": '{"__cpr__":' + "[" * 99_999 + "]" * 99_999 + "}",
        }
    ),
    "list of types": '{"metadata": {"serializer": {"type": ["cpr"]}}, "result": 5}',
    "no object": '{"metadata": {"serializer": "cpr"}, "result": 5}',
    "digits": '{"metadata": {"serializer": {"type": "cpr"}}, "result": ' + "9" * 5000 + "}",
    "array": '{"__cpr__": ["value", {"a": [[[]]]}]}',
    "not JSON": '{"__cpr__": broken',
    "two keys": '{"__cpr__": ["value", 1], "__cpr__": ["value", 2]}',
}  # fmt: skip

PREVIEWS = [
    b'{"columns":["\\u001b[31mX"],"rows":[["\\u001b]0;T\\u0007"]],"more_columns":0}',
    b'{"columns":[],"rows":[],"more_columns":1e999}',
    b'{"columns":[],"rows":[],"more_columns":Infinity}',
    b'{"columns":[],"rows":[],"more_columns":NaN}',
    b'{"columns":[],"rows":[],"more_columns":' + b"9" * 5000 + b"}",
    b'{"columns":["<img src=x onerror=alert(1)>"],"rows":[["<script>alert(1)"]],"more_columns":-1}',
    b"[" * 200_000,
]


@pytest.fixture
def hostile(tmp_path):
    """A folder of such records, two good ones among them, of `plain` and of `big`."""
    target = cpr.NumpyTarget.from_path(f"{tmp_path}/data/plain.npy")
    target.set_data(np.arange(12))
    record = target.serialize()
    for at, change in enumerate(changes().values()):
        put(f"{tmp_path}/records/a{at:02}", prefect({"__cpr__": {**record["__cpr__"], **change}}))
    for at, text in enumerate(TEXTS.values()):
        put(f"{tmp_path}/records/b{at:02}", text)
    Path(f"{tmp_path}/records/c\x1b[31m").write_text(prefect(record))
    Path(f"{tmp_path}/records/d\x1b[31m").write_text('{"__cpr__": broken')
    Path(f"{tmp_path}/records/e\n{BIDI}").write_text(prefect(record, expiration=ESC))
    os.utime(f"{tmp_path}/records/a00", (1 << 40, 1 << 40))
    table = cpr.CSVTarget.from_path(f"{tmp_path}/data/table.csv")
    table.set_data(pd.DataFrame({"a" + ESC: [ESC, "=cmd|' /C calc'!A0", BIDI]}))
    put(f"{tmp_path}/records/table", prefect(table.serialize()))
    big = cpr.CSVTarget.from_path(f"{tmp_path}/data/big.csv")
    big.set_data(pd.DataFrame({"x": np.arange(400_000)}))
    put(f"{tmp_path}/records/big", prefect(big.serialize()))
    return tmp_path


def safe(capsys, *arguments: str) -> tuple[int, str]:
    code = run(list(arguments))
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        found = FORBIDDEN.search(text)
        assert found is None, (arguments, text[found.start() - 40 : found.end() + 40])
    assert code in (0, 1, 3)
    return code, printed.out + printed.err


@pytest.mark.parametrize("more", [[], ["--json"], ["--runs"]])
def test_lists_go_on(hostile, capsys, more):
    code, text = safe(capsys, "ls", f"{hostile}/records", *more)
    assert code == 1
    assert "plain-" in text or "--runs" in more
    if not more:
        assert text.count("unreadable: ") > 12


def test_other_commands_go_on(hostile, capsys):
    records = f"{hostile}/records"
    code, text = safe(capsys, "lineage", records)
    assert code == 1
    assert "plain-" in text
    code, text = safe(capsys, "verify", records)
    assert code == 1
    assert "unreadable record" in text
    assert "targets intact" in text
    safe(capsys, "why", records, "plain")
    assert safe(capsys, "show", records, "plain")[0] in (0, 1)
    code, text = safe(capsys, "cp", records, f"{hostile}/copy")
    assert code == 1
    assert (hostile / "copy" / "records").exists() or (hostile / "copy" / "table").exists()
    assert safe(capsys, "gc", records, f"{hostile}/data")[0] == 3
    code, text = safe(capsys, "gc", records, f"{hostile}/data", "--without-unreadable")
    assert code == 0


def test_a_key_that_no_url_may_have_stops_no_command(capsys):
    """Keys of a store may be any text; memory:// stands for those that fsspec serves."""
    place = f"memory://odd-{uuid.uuid4().hex}"
    store(place, ("small",))
    files = fsspec.filesystem("memory")
    for key in ("records/\x1b[31m", "records/a\nb", "records/\u202etxt", "data/\x07.tif"):
        files.pipe_file(f"{place}/{key}", b'{"metadata": {}, "result": 1}')
    for command in (
        ["ls", place],
        ["show", place, "small"],
        ["verify", place],
        ["lineage", place],
        ["report", place, "-o", f"{place}/page.html"],
        ["gc", place],
        ["cp", place, f"{place}-copy"],
        ["export", place, "--ro-crate", "abababab", "-o", f"{place}-crate"],
    ):
        code, text = safe(capsys, *command)
        assert code in (0, 1), (command, text)
    assert list_results(f"{place}-copy").targets == 1


def test_each_is_shown_or_told_of(hostile, capsys):
    for name in sorted(os.listdir(hostile / "records")):
        for more in ([], ["--json"]):
            _, text = safe(capsys, "show", f"{hostile}/records/{name}", *more)
            assert text


def test_previews_are_nobodys_word(hostile, capsys):
    (place,) = (hostile / "data" / ".cpr").glob("big-*.preview.json")
    for at, blob in enumerate(PREVIEWS):
        place.write_bytes(blob)
        assert safe(capsys, "show", f"{hostile}/records/big")[0] == 0
        page = hostile / f"{at}.html"
        safe(capsys, "report", f"{hostile}/records", "-o", str(page))
        found = _Markup()
        found.feed(page.read_text("utf-8"))
        assert found.bad == []


class _Markup(html.parser.HTMLParser):
    """What of a page would run, or load, anything."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[Any] = []
        self._scripts = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        # One runs; another is the data that it shows.
        self._scripts += tag == "script" and attrs != [("type", "application/json"), ("id", "data")]
        if tag in ("iframe", "object", "embed", "base", "link") or self._scripts > 1:
            self.bad.append((tag, attrs))
        for name, value in attrs:
            links = name in ("href", "src", "action")
            if name.startswith("on") or (links and not (value or "").startswith(("#", "data:image/png"))):
                self.bad.append((tag, name, value))


BOMBS = {
    "lists": b'{"__cpr__":["value",[' + b",".join([b"[]"] * 4_000_000) + b"]]}",
    "objects": b'{"__cpr__":["value",[' + b",".join([b"{}"] * 4_000_000) + b"]]}",
    "small objects": b'{"__cpr__":["value",[' + b",".join([b'{"a":0}'] * 3_000_000) + b"]]}",
    "texts": b'{"__cpr__":["value",[' + b",".join([b'"ab"'] * 8_000_000) + b"]]}",
    "in a result": b'{"metadata":{"serializer":{"type":"cpr"}},"result":"' + b"[]," * 6_000_000 + b'"}',
}


@pytest.mark.parametrize("blob", BOMBS.values(), ids=BOMBS)
def test_memory_is_in_proportion_to_the_file(tmp_path, capsys, blob):
    for at in range(3):
        put(f"{tmp_path}/{at}", blob)
    started = time.monotonic()
    code, text = safe(capsys, "ls", str(tmp_path))
    assert code == 1
    assert text.count("MiB of memory") == 3
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("shape", [[0], [0, 5], [2**40] * 3, [1, 2**40], [2**62], [2**40, 0]])
@pytest.mark.parametrize("kind", ["NumpyTarget", "ImageTarget", "ZarrTarget"])
def test_shapes_without_end(tmp_path, capsys, kind, shape):
    ext = {"NumpyTarget": ".npy", "ImageTarget": ".tif", "ZarrTarget": ".zarr"}[kind]
    target = getattr(cpr, kind).from_path(f"{tmp_path}/data/a{ext}")
    target.set_data(np.arange(6, dtype="uint8").reshape(2, 3))
    fields = target.serialize()["__cpr__"]
    fields["shape"] = shape
    if kind == "ZarrTarget":
        place = Path(target.url) / "zarr.json"
        text = place.read_text()
        document = json.loads(text)
        document["shape"] = shape
        document["chunk_grid"]["configuration"]["chunk_shape"] = [max(1, min(n, 2**20)) for n in shape]
        place.write_text(json.dumps(document))
    put(f"{tmp_path}/records/a", prefect({"__cpr__": fields}))
    started = time.monotonic()
    for arguments in (
        ["ls", f"{tmp_path}/records"],
        ["show", f"{tmp_path}/records/a"],
        ["verify", f"{tmp_path}/records"],
        ["report", f"{tmp_path}/records", "-o", f"{tmp_path}/page.html"],
    ):
        safe(capsys, *arguments)
    assert time.monotonic() - started < 20


def test_no_character_without_a_shape_of_its_own_is_printed_as_it_is():
    import unicodedata

    from cpr.cli.output import printable

    hidden = [
        chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]
    shown = [one for one in hidden if printable(one) == one]
    # Signs of Arabic, Syriac and Kaithi numbers are seen.
    assert all(re.search("ARABIC|SYRIAC|KAITHI", unicodedata.name(one)) for one in shown)
    assert printable("Ünï 細胞 🔬 é") == "Ünï 細胞 🔬 é"


# Default_Ignorable_Code_Point of Unicode, which Python's tables do not have.
INVISIBLE = (
    "00ad 034f 061c 115f-1160 17b4-17b5 180b-180f 200b-200f 202a-202e 2060-206f 3164 fe00-fe0f feff ffa0 "
)
INVISIBLE += "fff0-fff8 1bca0-1bca3 1d173-1d17a e0000-e0fff"


@pytest.mark.parametrize("some", INVISIBLE.split())
def test_what_has_no_shape_is_spelled_out(some):
    """Else two names look alike, or one has a blank where there is none."""
    from cpr.cli.output import printable

    first, _, last = some.partition("-")
    for code in range(int(first, 16), int(last or first, 16) + 1):
        assert printable(f"a{chr(code)}b").isascii()
