"""Allows only listed codecs, data types and layouts in Zarr metadata, and bounds its size.

Metadata determine the code that decodes chunks: some codecs that zarr would find execute what they decode
(pickle), others come from any installed package (entry points). So every metadata document is checked here
before zarr sees it, of sources and targets, when it is read and when it is written.

Sources: the core specification (https://zarr-specs.readthedocs.io/en/latest/v3/core/), with the data types
and codecs that zarr-python adds; for version 2 https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html,
with the codecs of numcodecs.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator
from typing import Any

from cpr.errors import DecodeError
from cpr.io.outside_json import TooMuchJsonError, read_json
from cpr.io.variables import ZARR_CODECS

__all__ = ["allowed_codecs", "is_metadata", "require_safe_metadata", "without_consolidated"]

_DOCUMENTS = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})
_ENVIRONMENT = ZARR_CODECS.name

_NUMCODECS = frozenset(
    "adler32 astype bitround blosc bz2 crc32 crc32c delta fixedscaleoffset fletcher32 gzip jenkins_lookup3 "
    "lz4 lzma packbits quantize shuffle zlib zstd".split()
)
_SHARDING = "sharding_indexed"  # holds other codecs
_CODECS = {
    2: _NUMCODECS,
    3: frozenset("bytes endian transpose blosc zstd gzip crc32c vlen-utf8 vlen-bytes".split())
    | {_SHARDING}
    | {f"numcodecs.{name}" for name in _NUMCODECS},
}
# In version 2 they make Python objects, though of kinds that do nothing by themselves: only where asked for.
_OBJECT_CODECS = frozenset({"vlen-utf8", "vlen-bytes"})
# Decoding these is executing them: nobody can allow them.
_NEVER = frozenset({"pickle", "numcodecs.pickle"})

_DATA_TYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128 "
    "string fixed_length_utf32 raw_bytes null_terminated_bytes variable_length_bytes numpy.datetime64 "
    "numpy.timedelta64 structured struct".split()
)
_RAW_BITS = re.compile(r"r[1-9][0-9]{0,8}")
_NUMPY_DTYPE = re.compile(
    r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16|[SUaV][0-9]{1,9}|[mM]8(\[[0-9]{0,9}[A-Za-zμµ]{1,7}\])?)"
)
_NUMBERS = re.compile(r"[<>|=]?(b1|\?|[iu][1248]|f[248]|c8|c16|bool|u?int(8|16|32|64)|float(16|32|64))")
_DTYPE_OPTIONS = frozenset({"dtype", "astype", "encode_dtype", "decode_dtype"})
_GRIDS = frozenset({"regular"})
_KEY_ENCODINGS = frozenset({"default", "v2"})

_MOST_BYTES = 64 << 20
_MOST_VALUES = 3_000_000  # each takes a hundred bytes once it is read
_MOST_DEPTH = 100
_MOST_CODECS = 64  # of an array, those in others among them: each takes zarr a tenth of a millisecond
_MOST_FIELDS = 10_000  # of a dtype
_MOST_NESTED = 8  # codecs in codecs, fields in fields, groups in consolidated metadata
_MOST_AXES = 64  # of a numpy array
_MOST_EXTENT = 1 << 63


def is_metadata(key: str) -> bool:
    """Whether a key is that of a metadata document."""
    return _name_in(key) in _DOCUMENTS


def allowed_codecs(zarr_format: int) -> frozenset[str]:
    """Names of the codecs that metadata may use: the built-in list and `CPR_ZARR_CODECS`."""
    return (_CODECS[zarr_format] | _added()) - _NEVER


def require_safe_metadata(key: str, data: bytes, url: str) -> None:
    """Raise DecodeError for metadata that names something not listed, or is too large.

    Args:
        key: of the object, in its hierarchy.
        data: its bytes.
        url: for errors.
    """
    try:
        _check_document(_name_in(key), _parsed(data), 0)
    except _RefusedError as refused:
        raise DecodeError(
            f"{refused.problem} in the metadata of a Zarr",
            url=url,
            field=refused.field or None,
            expected=refused.expected,
            actual=ascii(reprlib.repr(refused.actual))[1:-1][:200],
            remedy=refused.remedy,
        ) from None


def without_consolidated(data: bytes) -> bytes | None:
    """A group's format 3 metadata as it was before zarr consolidated it; None for others."""
    try:
        document = _parsed(data)
    except _RefusedError:
        return None
    if document.pop("consolidated_metadata", None) is None:
        return None
    return json.dumps(document, indent=2).encode()


class _RefusedError(Exception):
    """Internal to this module."""

    def __init__(
        self,
        field: str,
        expected: str,
        actual: Any,
        problem: str = "what no Zarr has",
        remedy: str = "restore the metadata, or write the Zarr again with the program it comes from",
    ) -> None:
        super().__init__(problem)
        self.problem, self.field, self.expected, self.actual = problem, field, expected, actual
        self.remedy = remedy


def _added() -> frozenset[str]:
    return ZARR_CODECS.get() or frozenset()


def _name_in(key: str) -> str:
    return key.rpartition("/")[2]


def _parsed(data: bytes) -> dict[str, Any]:
    """Parse the document; None if it is not JSON, which zarr reports itself."""
    if len(data) > _MOST_BYTES:
        raise _RefusedError("", f"at most {_MOST_BYTES} bytes", f"{len(data)} bytes")
    if (values := sum(map(data.count, (b",", b"[", b"{")))) > _MOST_VALUES:
        raise _RefusedError("", f"at most {_MOST_VALUES} values", f"about {values}")
    try:
        document = read_json(data, strict=False)  # as zarr, which reads it next
    except TooMuchJsonError as error:
        raise _RefusedError("", f"at most {_MOST_DEPTH} levels of lists and objects", str(error)) from None
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    # Those who walk through deeper nesting later would not come back.
    level: list[Any] = [document]
    for _ in range(_MOST_DEPTH):
        level = [
            item
            for value in level
            if isinstance(value, (dict, list))
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return document
    raise _RefusedError("", f"at most {_MOST_DEPTH} levels of lists and objects", "more")


def _check_document(name: str, document: Any, depth: int) -> None:
    if not isinstance(document, dict):
        raise _RefusedError("", "an object", document)
    if depth > _MOST_NESTED:
        raise _RefusedError("consolidated_metadata", "groups that are not nested so deep", "more")
    if name == ".zmetadata":
        for path, inner in _mapping(document.get("metadata", {}), "metadata").items():
            if is_metadata(path):
                _check_document(_name_in(path), inner, depth + 1)
    elif name == ".zarray":
        _check_array_v2(document)
    elif name == "zarr.json":
        if document.get("node_type") == "array":
            _check_array_v3(document)
        consolidated = document.get("consolidated_metadata")
        if consolidated is not None:
            field = "consolidated_metadata"
            for node in _mapping(_mapping(consolidated, field).get("metadata", {}), field).values():
                _check_document("zarr.json", node, depth + 1)


def _mapping(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _RefusedError(field, "an object", value)
    return value


def _check_array_v2(document: dict[str, Any]) -> None:
    _check_shape(document.get("shape"), document.get("chunks"), "chunks")
    filters = document.get("filters") or []
    if not isinstance(filters, list) or len(filters) > _MOST_CODECS:
        raise _RefusedError("filters", f"a list of up to {_MOST_CODECS}, or null", filters)
    compressor = document.get("compressor")
    for field, codec in [*(("filters", each) for each in filters), ("compressor", compressor)]:
        if codec is not compressor or codec is not None:
            _check_codec(_mapping(codec, field).get("id"), codec, field, 2)
    _check_numpy_dtype(document.get("dtype"), filters, 0)


def _check_array_v3(document: dict[str, Any]) -> None:
    grid = _mapping(document.get("chunk_grid"), "chunk_grid")
    _require_name(grid, _GRIDS, "chunk_grid")
    chunks = _mapping(grid.get("configuration"), "chunk_grid.configuration").get("chunk_shape")
    _check_shape(document.get("shape"), chunks, "chunk_shape")
    _check_data_type(document.get("data_type"), 0)
    if (count := _check_codecs(document.get("codecs"), "codecs", 0)) > _MOST_CODECS:
        raise _RefusedError("codecs", f"up to {_MOST_CODECS}, with those in others", count)
    _require_name(document.get("chunk_key_encoding"), _KEY_ENCODINGS, "chunk_key_encoding")
    if document.get("storage_transformers"):
        raise _RefusedError("storage_transformers", "none", document["storage_transformers"])


def _check_shape(shape: Any, chunks: Any, field: str) -> None:
    for name, value in (("shape", shape), (field, chunks)):
        numbers = isinstance(value, list) and all(type(n) is int and 0 <= n < _MOST_EXTENT for n in value)
        if not numbers or len(value) > _MOST_AXES:
            raise _RefusedError(name, f"up to {_MOST_AXES} whole numbers", value)
    if len(shape) != len(chunks):
        raise _RefusedError(field, f"one number for each of {len(shape)} axes", chunks)
    if any(n and not chunk for n, chunk in zip(shape, chunks, strict=True)):
        raise _RefusedError(field, "1 or more along an axis that is not empty", chunks)


def _name_of(named: Any) -> Any:
    return named.get("name") if isinstance(named, dict) else named


def _require_name(named: Any, known: frozenset[str], field: str) -> None:
    name = _name_of(named)
    if not isinstance(name, str) or name not in known:
        raise _RefusedError(field, f"one of {', '.join(sorted(known))}", name)


def _check_codecs(codecs: Any, field: str, depth: int) -> int:
    """Check codecs, including nested ones, and return how many there are. Raises for unlisted ones."""
    if not isinstance(codecs, list) or depth > _MOST_NESTED:
        raise _RefusedError(field, "a list of codecs", codecs)
    count = len(codecs)
    for codec in codecs:
        given = codec.get("configuration") if isinstance(codec, dict) else None
        configuration = _mapping(given or {}, field)
        _check_codec(_name_of(codec), configuration, field, 3)
        for inner in ("codecs", "index_codecs"):
            if inner in configuration:
                count += _check_codecs(configuration[inner], f"{field}.{inner}", depth + 1)
    return count


def _check_codec(name: Any, options: dict[str, Any], field: str, zarr_format: int) -> None:
    if not isinstance(name, str):
        raise _RefusedError(field, "a codec with a name", name)
    if name in _NEVER:
        raise _RefusedError(
            field,
            "a codec that only decodes",
            name,
            "a codec that executes what it decodes",
            "do not read it; let whoever wrote it write it again with another codec, such as zstd",
        )
    if name not in allowed_codecs(zarr_format):
        shown = name if re.fullmatch(r"[\w.-]{1,100}", name) else "its name"
        raise _RefusedError(
            field,
            f"one of {', '.join(sorted(allowed_codecs(zarr_format)))}",
            name,
            "a codec that is not allowed",
            f"{_ENVIRONMENT}={shown} in the environment, if you trust the codec and whoever wrote the data",
        )
    for option in _DTYPE_OPTIONS & options.keys():
        if not isinstance(options[option], str) or not _NUMBERS.fullmatch(options[option]):
            raise _RefusedError(f"{field}.{option}", "a dtype of numbers", options[option])


def _check_numpy_dtype(dtype: Any, filters: list[dict[str, Any]], depth: int) -> None:
    if isinstance(dtype, list) and 0 < len(dtype) <= _MOST_FIELDS and depth <= _MOST_NESTED:
        for each in dtype:
            if not isinstance(each, list) or len(each) not in (2, 3) or not isinstance(each[0], str):
                raise _RefusedError("dtype", "fields of [name, dtype]", each)
            if len(each) == 3:
                _check_shape(each[2], each[2], "dtype")
            _check_numpy_dtype(each[1], [], depth + 1)
    elif dtype == "|O" and filters and filters[0]["id"] in _OBJECT_CODECS & _added():
        return  # that codec makes nothing but text, or bytes
    elif not isinstance(dtype, str) or not _NUMPY_DTYPE.fullmatch(dtype):
        raise _RefusedError(
            "dtype",
            "a dtype of numbers, dates or text of fixed length",
            dtype,
            "a dtype that is not allowed",
            f"for text that vlen-utf8 encodes, {_ENVIRONMENT}=vlen-utf8 in the environment; else write the "
            "Zarr again with numbers, or in format 3, which has a data type for text",
        )


def _check_data_type(data_type: Any, depth: int) -> None:
    name = _name_of(data_type)
    known = isinstance(name, str) and (name in _DATA_TYPES or _RAW_BITS.fullmatch(name))
    if not known or depth > _MOST_NESTED:
        expected = f"one of {', '.join(sorted(_DATA_TYPES))}"
        raise _RefusedError("data_type", expected, name, "a data type that is not allowed")
    if name in ("structured", "struct"):
        for each in _types_of_fields(data_type):
            _check_data_type(each, depth + 1)


def _types_of_fields(data_type: Any) -> Iterator[Any]:
    fields = _mapping(_mapping(data_type, "data_type").get("configuration"), "data_type").get("fields")
    if isinstance(fields, list) and len(fields) > _MOST_FIELDS:
        raise _RefusedError("data_type", f"up to {_MOST_FIELDS} fields", f"{len(fields)} fields")
    for each in fields if isinstance(fields, list) else [None]:
        if isinstance(each, dict):
            yield each.get("data_type")
        elif isinstance(each, list) and len(each) == 2:
            yield each[1]
        else:
            raise _RefusedError("data_type", "fields of [name, data type]", each)
