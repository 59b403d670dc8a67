"""What a hostile author with write access to a shared bucket would store: records, places, names.

Shared by the everyday tests and the long ones; everything follows from a seed. Also the watch that tells
what a record has set off.
"""

from __future__ import annotations

import encodings
import json
import random
import sys
import threading
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hypothesis import strategies as st

from cpr.errors import RecordError
from cpr.records.pack import pack
from cpr.records.record_digest import SEAL, seal_of
from cpr.records.registry import RECORD_KEY
from tests import record_values

KEY16 = "0123456789abcdef"
CHECKSUM = "xxh3_128:" + "0" * 32
STORED = {"key": KEY16, "data_hash": KEY16, "checksum": CHECKSUM, "nbytes": 1000, "blocks": CHECKSUM}
#: Of a hierarchy, whose objects a manifest lists.
LISTED = {**{name: value for name, value in STORED.items() if name != "blocks"}, "manifest": 500}
TABLE = {
    "columns": [["area", "float64"], ["name", "str"]],
    "rows": 3,
}


def _record(kind: str, ext: str, **fields: Any) -> dict[str, Any]:
    place = {"type": kind, "location": "s3://bucket/results", "name": "cell", "ext": ext}
    return {RECORD_KEY: {**place, **fields}}


#: A good record of every kind.
RESOURCES = [
    _record("ImageTarget", ".tif", **STORED, shape=[3, 60, 70], dtype="uint16",
            metadata={"axes": "ZYX", "unit": "micron", "spacing": 0.5}, resolution=[4.0, 4.0]),
    _record("ImageTarget", ".ome.tif", **STORED, ome=True, shape=[60, 70], dtype="float32",
    compression="zstd", level=5),
    _record("ImageSource", ".tif", metadata={"Channel": {"Name": ["a", "b"]}}),
    _record("CSVTarget", ".csv.gz", **STORED, separator=";", compression="gzip", table=TABLE),
    _record("CSVSource", ".csv", separator=";", encoding="latin-1", index=0),
    _record("ParquetTarget", ".parquet", **STORED, table=TABLE),
    _record("ParquetSource", ".parquet"),
    _record("NumpyTarget", ".npy", **STORED),
    _record("NumpySource", ".npy"),
    _record("ZarrTarget", ".zarr", **LISTED),
    _record("ZarrSource", ".zarr", group="A/1", slices_start=[0, None], slices_stop=[3, 4]),
    _record("OMEZarrTarget", ".ome.zarr", **LISTED, metadata={"axes": "CYX", "unit": "micron"},
            resolution=[10.0, 10.0]),
    _record("OMEZarrSource", ".ome.zarr", group="0"),
    _record("OMEPlateTarget", ".ome.zarr", **LISTED),
    _record("OMEPlateSource", ".ome.zarr", group="plate"),
    _record("OMEZarrField", ".ome.zarr", **LISTED, path="A/1/0"),
    _record("ZarrPart", ".ome.zarr", **LISTED, region=[[0, 1], [0, 64], [0, 64]], ranges=[[1.0, 2.0]]),
    _record("ZarrRegion", ".ome.zarr", **LISTED, path="0", region=[[0, 1], [0, 10], [0, 64]],
            dropped=[True, False, False], dtype="<u2"),
    _record("TextTarget", ".txt", **STORED),
    _record("TextSource", ".txt"),
]  # fmt: skip


def _containers() -> list[Any]:
    """Good records of values that are no resources, or have some in them."""
    from cpr.records.registry import load_record

    image = load_record(RESOURCES[0])
    samples: list[Any] = [
        [1, 2.5, None, "text", True],
        (1, (2,)),
        {1: {2, 3}, "a": frozenset({4})},
        record_values.Cell(image, 2.0),
        record_values.Frozen(1),
        record_values.Outer.Inner([1]),
        record_values.Point(1, 2),
        record_values.Pair(image, 1),
        record_values.Colour.RED,
        record_values.Mode.READ | record_values.Mode.WRITE,
        record_values.Measured(Name="cell", tags={"a"}),
        record_values.Loose(value=(1,), other=2),
        record_values.Box[list[int] | None](content=[1]),
        record_values.Names(["a"]),
        b"bytes",
        1j,
        float("inf"),
        1 << 80,
    ]
    scalars = [
        ["datetime", "2026-01-01T00:00:00", 0, "Asia/Tokyo"],
        ["time", "01:02:03", 1, [0]],
        ["date", "2026-01-01"],
        ["timedelta", 1, 2, 3],
        ["UUID", "0" * 32],
        ["Decimal", "1.5"],
        ["path", "Path", "/a/b"],
        ["UPath", "s3://bucket/a"],
        ["numpy", "<f4", "0000803f"],
    ]
    return [*(pack(sample) for sample in samples), *({RECORD_KEY: scalar} for scalar in scalars)]


#: Places that no record may name, whatever its name is.
LOCATIONS = [
    # other places, chained or through services that forward
    "simplecache::s3://bucket/x", "filecache::http://host/x", "zip://x::s3://bucket/a.zip",
    "tar://x::/tmp/a.tar",
    "blockcache::memory://a", "s3://bucket/a::file:///etc", "memory://a::http://host", "dask::s3://bucket/a",
    "reference://", "reference::/tmp/r.json", "data:text/plain,x", "github://org:repo@main/x",
    "git://path@main:x",
    "jupyter://host/x", "http://host/x", "https://host/x", "HTTPS://host/x", "ftp://host/x", "ftps://host/x",
    "dbfs:/x", "gdrive://x", "dropbox://x", "box://x", "libarchive://x", "root://host//x",
    "arrow_hdfs://host/x",
    "asynclocal:///x", "dir://x", "generic://x", "local:///x", "file:///x", "FILE:///x", "File:/x",
    "S3://bucket/x",
    # hosts that nobody here has named, which would be shown our credentials
    "sftp://evil.example/x", "sftp://me@evil.example:2222/x", "ssh://evil.example/x",
    "smb://evil.example/share/x",
    "hdfs://evil.example:9000/x", "webhdfs://169.254.169.254/x", "sftp://[::1]/x", "sftp:///x", "hdfs:///x",
    # secrets
    "s3://AKIA:secret@bucket/x", "s3://AKIA:se/cr/et@bucket/x", "sftp://me:secret@host/x",
    "gs://token@bucket/x",
    "az://container/x?sig=abc", "s3://bucket/x?X-Amz-Signature=abc",
    "s3://bucket/x?a=1&X-Amz-Security-Token=abc",
    # ways out
    "..", "../x", "/a/../b", "/a/..", "s3://bucket/../other", "s3://bucket/a/..", "s3://../x",
    "memory://a/../b",
    "s3://bucket/a\\..\\b", "/a/..\\..\\b", "s3://bucket/x/../../../etc/passwd",
    # no place, or one of two spellings
    "", ".", "x", "./x", "~", "~/x", "~root/x", "s3://", "s3:///x", "s3:bucket/x", "s3:/bucket/x", "://x",
    "s3://bucket/x/", "/a//b", "/a/./b", "/a/", "//host/share", "///a", "memory:///a", "\\\\host\\share",
    "\\\\?\\C:\\x",
    "C:\\x", "C:/x", "c:x", "\\\\.\\pipe\\x", "nul", "gs://", "az://", "file:", "file://", "file://host/x",
    # no buckets
    "s3://bucket#/x", "s3://bucket?x/y", "s3://buc ket/x", "s3://@/x", "s3://./x", "s3://b:99/x",
    "s3://[::1]/x", "s3://{}/x",
    "s3://*/x", "s3://bucket%2f..%2fx/y", "s3://evil.example\\@bucket/x", "gs://büro/x", "s3://b\uff0fx/y",
    "az://a\u2024b/x",
    "oci://container/x?y", "oci://container/x#y", "oci://bucket@a@b/x", "hf:///x", "az://-/x",
    # text that shows as something else, or ends a line in a log
    "/a\x00", "/a\n", "/a\r", "/a\t", "/a\x1b[31m", "/a\x7f", "/a\x85", "/a\u2028b", "/a\u2029b",
    "/a\u202eb", "/a\u2066b",
    "/a\u200bb", "/a\ufeffb", "\ufeff/a", "/a\uffff", "/a\ud800", "s3://bucket/\u202efit.x",
    "s3://bucket/a\u200e",
    # sizes
    "/" + "a" * 4096, "s3://bucket/" + "a" * 5000, "s3://" + "b" * 300 + "/x",
    # no text
    None, 3, 1.5, True, [], ["/a"], {}, {"a": 1}, b"/a", 10**400,
]  # fmt: skip

#: Places that they may name, odd as they look.
ODD_LOCATIONS = [
    "s3://bucket//x",
    "/a b", "/ä/日本/\uff0f\u2025", "/a%2fb/%2e%2e", "/a:b", "/...", "/..a/b..", "/a.", "/con",
    "/$HOME/{x}/*",
    "s3://bucket/a b/%2e%2e/\uff0e\uff0e", "s3://b.u-c_k.et/...", "gs://bucket/a#1", "s3://bucket/a?b=1",
    "memory://", "memory://x",
    "az://container@account/x", "abfs://data@account.dfs.core.windows.net/x", "az://$web/x",
    "az://container/x?y", "abfs://container/x#y",
    "hf://datasets/org/name/x",
    "s3://bucket/a@b", "s3://bucket/e\u0301", "s3://bucket/a\u200db",
]  # fmt: skip

_PIECES = [
    *"abzAZ09._- ~$#?%*:;|<>\"'`!@&=+,()[]{}^/\\", "..", "...", "/../", "\\..\\", "%2e%2e", "%2f", "%5c",
    "%00", "::", "://",
    "s3://", "file:", "con", "nul.txt", "COM1", "aux", ".cpr", ".part", "\x00", "\n", "\r\n", "\x1b",
    "\x85", "\u2028",
    "\u202e", "\u2066", "\u200b", "\ufeff", "\ufffe", "\ud800", "\udfff", "\u2025", "\u2026", "\uff0e",
    "\uff0f", "\uff3c",
    "\u2215", "\u2044", "\u29f5", "\ufe52", "\u0301", "é", "日本", "🔬", "\U0010ffff", "\u0660", "ß",
    "a" * 255, "a" * 4090,
    "?versionId=x", "#1", "X-Amz-Signature=1", "${HOME}", "$(id)", "-rf", "~root", "C:", "x:y",
]  # fmt: skip


def names(count: int, seed: int) -> Iterator[str]:
    """Names that try to be something else than a name."""
    dice = random.Random(seed)
    for _ in range(count):
        yield "".join(dice.choices(_PIECES, k=dice.randint(0, 5)))


_NUMBERS: list[Any] = [
    0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 10**4000, 0.5, -0.0,
    1e308, 5e-324,
]  # fmt: skip
_CLASSES = [
    "os:system", "subprocess:Popen", "builtins:eval", "builtins:dict", "builtins:type", "pathlib:Path",
    "threading:Thread",
    "logging:FileHandler", "http.client:HTTPConnection", "zipfile:ZipFile", "tempfile:TemporaryDirectory",
    "ctypes:CDLL",
    "multiprocessing.pool:Pool", "prefect.filesystems:RemoteFileSystem",
    "prefect.settings.models.root:Settings",
    "fsspec.implementations.http:HTTPFileSystem", "upath:UPath", "cpr.Target:Target",
    "cpr.errors:RecordError",
    "not_there_at_all:Thing", "tests.record_values:Loud", "tests.record_values:Colour",
    "tests.record_values:Box",
    "tests.record_values:Cell.__init__", "a:b:c", "", ":", "antigravity:x", "this:d", "idlelib:x",
    "tests.record_values:Mode",
]  # fmt: skip
_TEXTS = [
    "", "\x00", "x" * 70_000, "\u202e", "\ud800", "NaN", "Infinity", "1e999", "__cpr__", "type", "../..",
    "uint16", "O",
    "|O", "object", "V1000000000", "datetime64[as]", "utf-8", "zlib_codec", "idna", "a" * 16, KEY16, CHECKSUM,
    "sha256:" + "0" * 64, "md5:" + "0" * 32, "Europe/Zurich", "../../etc/passwd", "posixrules",
    "tzdata.zones",
]  # fmt: skip
_TAGS = [
    *"tuple set frozenset dict enum namedtuple dataclass model value int float complex bytes".split(),
    *"bytearray date time datetime timedelta UUID Decimal path UPath numpy exec pickle".split(),
]


class Author:
    """Writes records: good ones with something changed. The same seed, the same records."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._good = [json.dumps(record) for record in [*RESOURCES, *_containers()]]

    def text(self) -> str:
        """A record as JSON text, now and then not quite JSON."""
        dice = self._dice
        record = json.loads(dice.choice(self._good))
        for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 5))):
            record = self._changed(record)
        if dice.random() < 0.5:
            _seal(record)
        try:
            text = json.dumps(record)
        except RecursionError:
            return "[" * dice.choice((500, 5000))
        return self._scratched(text) if dice.random() < 0.15 else text

    def _changed(self, value: Any, depth: int = 0) -> Any:
        """The value with something somewhere in it changed."""
        dice = self._dice
        if depth > 60 or not isinstance(value, (dict, list)) or not value or dice.random() < 0.08:
            return self._something(value)
        if isinstance(value, dict):
            key = dice.choice(list(value))
            roll = dice.random()
            if roll < 0.06:
                return {k: v for k, v in value.items() if k != key}
            if roll < 0.14:
                donor = json.loads(dice.choice(self._good))
                inner = donor[RECORD_KEY] if isinstance(donor, dict) and RECORD_KEY in donor else {}
                other = inner if isinstance(inner, dict) and inner else {"unknown": 1}
                taken = dice.choice(list(other))
                return {**value, taken: other[taken]}
            if roll < 0.18:
                return {
                    **value,
                    dice.choice([*_TEXTS[:12], "__class__", "__dict__", "storage_options"]): self._leaf(),
                }
            return {**value, key: self._field(key, value[key], depth)}
        at = dice.randrange(len(value))
        roll = dice.random()
        if roll < 0.08:
            return value[:at] + value[at + 1 :]
        if roll < 0.14:
            return [*value[:at], self._leaf(), *value[at:]]
        return [*value[:at], self._changed(value[at], depth + 1), *value[at + 1 :]]

    def _field(self, key: str, value: Any, depth: int) -> Any:
        dice = self._dice
        if key == "location" and dice.random() < 0.7:
            return dice.choice([place for place in LOCATIONS if not isinstance(place, bytes)])
        if key == "name" and dice.random() < 0.7:
            return next(names(1, dice.getrandbits(32)))
        if key == "type" and dice.random() < 0.5:
            return dice.choice([*_CLASSES, *(record[RECORD_KEY]["type"] for record in RESOURCES)])
        return self._changed(value, depth + 1)

    def _something(self, value: Any) -> Any:
        dice = self._dice
        if isinstance(value, str) and value in _TAGS and dice.random() < 0.7:
            return dice.choice(_TAGS)
        if isinstance(value, str) and ":" in value and dice.random() < 0.7:
            return dice.choice(_CLASSES)
        roll = dice.random()
        if roll < 0.1:
            deep: Any = value
            for _ in range(dice.choice((3, 70, 300))):
                deep = [deep] if dice.random() < 0.5 else {RECORD_KEY: ["tuple", [deep]]}
            return deep
        if roll < 0.2:
            return {RECORD_KEY: [dice.choice(_TAGS), *(self._leaf() for _ in range(dice.randint(0, 4)))]}
        if roll < 0.25:
            return json.loads(dice.choice(self._good))
        return self._leaf()

    def _leaf(self) -> Any:
        dice = self._dice
        roll = dice.random()
        if roll < 0.25:
            return dice.choice(_NUMBERS)
        if roll < 0.5:
            return dice.choice(_TEXTS)
        if roll < 0.6:
            return dice.choice(_CLASSES)
        if roll < 0.7:
            return next(names(1, dice.getrandbits(32)))
        if roll < 0.8:
            return [dice.choice(_NUMBERS) for _ in range(dice.choice((0, 1, 3, 200)))]
        return dice.choice(
            [None, True, False, [], {}, [[]], {"": {}}, [None], {RECORD_KEY: {}}, {RECORD_KEY: []}]
        )

    def _scratched(self, text: str) -> str:
        """The text with some characters lost, doubled or changed."""
        dice = self._dice
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(text) + 1)
            kind = dice.randrange(4)
            if kind == 0:
                text = text[:at] + text[at + dice.randint(1, 8) :]
            elif kind == 1:
                text = (
                    text[:at]
                    + dice.choice(['"', "{", "}", "[", "]", ",", ":", "\\", "1e999", "NaN", "-", "0"])
                    + text[at:]
                )
            elif kind == 2:
                text = text[:at] + text[max(0, at - 20) :]
            else:
                # A field twice.
                text = text.replace('"location"', '"location": "/x", "location"', 1)
        return text


def _seal(record: Any) -> None:
    """Make a record vouch for itself, as its author can."""
    fields = record.get(RECORD_KEY) if isinstance(record, dict) else None
    if isinstance(fields, dict) and "checksum" in fields:
        with suppress(RecursionError, ValueError):  # too deep, or a number too long for JSON
            fields[SEAL] = seal_of(fields)


def anything() -> st.SearchStrategy[Any]:
    """JSON values that know the words of records."""
    words = st.sampled_from(
        [
            *_TAGS,
            *_CLASSES,
            *_TEXTS[:12],
            RECORD_KEY,
            *RESOURCES[0][RECORD_KEY],
            *(str(x) for x in LOCATIONS[:60]),
        ]
    )
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        words,
        st.sampled_from(_NUMBERS),
    )
    values_ = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(words, inner, max_size=4),
            st.lists(inner, max_size=4).map(lambda items: {RECORD_KEY: items}),
            st.tuples(st.sampled_from(_TAGS), inner, inner).map(lambda items: {RECORD_KEY: list(items)}),
        ),
        max_leaves=20,
    )
    changed = st.sampled_from(RESOURCES).flatmap(
        lambda record: st.dictionaries(
            st.one_of(st.sampled_from(sorted(record[RECORD_KEY])), words), values_, min_size=1, max_size=3
        ).map(lambda fields: {RECORD_KEY: {**record[RECORD_KEY], **fields}})
    )
    return st.one_of(values_, changed)


#: What a record must not set off before it is accepted: (event, its arguments).
Events = list[tuple[str, tuple[Any, ...]]]

_WATCHED = (
    "import", "open", "exec", "compile", "marshal.", "pickle.", "socket.", "subprocess.", "os.", "shutil.",
    "ctypes.dlopen",
    "urllib.", "http.", "ftplib.", "sqlite3.", "glob.", "tempfile.", "webbrowser.", "code.__new__",
)  # fmt: skip
_READERS = ("cpr", "zarr", "fsspec", "tifffile", "ThreadPoolExecutor")
_watching: int | None = None
_sink: Events | None = None
_hooked = False


def is_of_another(watching: int | None) -> bool:
    """Whether what runs here is neither the thread that watches nor one of cpr's and its readers' own.

    Prefect's threads live on after a flow of another test, and send their logs and events when they like.
    """
    return threading.get_ident() != watching and not threading.current_thread().name.startswith(_READERS)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _sink is not None and event.startswith(_WATCHED) and not is_of_another(_watching):
        _sink.append((event, arguments))


@contextmanager
def watched() -> Iterator[Events]:
    """What happens inside, by Python's audit events (https://peps.python.org/pep-0578/)."""
    global _sink, _hooked, _watching
    _watching = threading.get_ident()
    if not _hooked:
        sys.addaudithook(_hear)  # for ever: none can be taken away
        _hooked = True
    _sink = found = []
    try:
        yield found
    finally:
        _sink = None


#: What the classes that a record may name say of their own fields.
ANNOTATIONS = {
    str(text).encode()
    for cls in vars(record_values).values()
    if isinstance(cls, type)
    for text in vars(cls).get("__annotations__", {}).values()
}


def is_pythons_own(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether this says nothing of the record's author.

    Python gets a time zone or an encoding that it has: two closed tables of its own. Or pydantic reads the
    annotations of an imported class, as it does when a generic model takes it for an argument.
    """
    what = str(arguments[0])
    if event == "open":
        return what.startswith((*zoneinfo.TZPATH, *encodings.__path__))
    if event == "compile" and arguments[0] in ANNOTATIONS:
        return True
    if event == "exec" and getattr(arguments[0], "co_filename", "") == "<string>":
        return {name.encode() for name in arguments[0].co_names} <= ANNOTATIONS
    if event in {"import", "exec", "marshal.loads", "os.listdir"}:
        return what.startswith(("encodings.", *encodings.__path__)) or "/encodings/" in what
    return False


def everything_loaded(load: Callable[[Any], Any]) -> None:
    """Load a good record of every kind, so that what they need once is imported."""
    from cpr.io.protocols import all_kinds

    for record in [*RESOURCES, *_containers()]:
        load(json.dumps(record))
    paths = [
        {RECORD_KEY: ["UPath", "/bucket/a" if protocol == "file" else f"{protocol}://bucket/a"]}
        for kind in all_kinds()
        for protocol in kind.protocols
        if kind.in_records
    ]
    # Of an unknown type the installed plug-ins are asked, once.
    for record in [*paths, {RECORD_KEY: {"type": "unknown"}}]:
        with suppress(RecordError, ImportError):
            load(json.dumps(record))
