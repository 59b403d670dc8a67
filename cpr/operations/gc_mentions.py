"""Searches any stored text, pickle or compressed result for the keys of targets that it may refer to.

A target's name ends in its key, 16 hex digits. Wherever such digits occur they may be a reference to it: in a
URL, a path, a relative name, a record, JSON inside JSON, percent-encoded, or in the bytes of a pickle. So
everything is searched for such digits only, and nothing is ever loaded or imported.

Content may be wrapped: in base64 (as Prefect stores pickles), zip (as spreadsheets are), gzip, zlib, bzip2,
xz or lzma, in zstd or lz4 if pyarrow is installed, and in several of these. Anything else that Prefect may
have written cannot be searched: UnsearchableError.
"""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from cpr.io.error_translation import translate_errors
from cpr.io.objects import open_store
from cpr.io.seekable_files import fetch_block
from cpr.operations.bounded_decompression import (
    BASE64,
    Room,
    UnsearchableError,
    chunks_of,
    from_base64,
    members,
    opened,
    unwrapping,
)
from cpr.records.registry import RECORD_KEY

__all__ = ["UnsearchableError", "keys_in_object", "keys_in_record", "keys_in_value"]

_BLOCK_BYTES = 4 << 20  # of an object
_MOST_LAYERS = 8
_DATA_BYTES = 64 << 20  # what is larger, and neither a text nor a pickle nor compressed, is data
_HEAD_BYTES = 4096
_OVERLAP_BYTES = 2048  # a key takes no more, each of its digits escaped
_JSON_ESCAPE = re.compile(rb"\\+u00([0-9a-fA-F]{2})")
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")
_RESULT = re.compile(rb'"result"\s*:\s*"')
_BASE64_RUN = re.compile(rb"(?:[A-Za-z0-9+/]|\\+n|\n)*={0,2}")
_BASE64_LINES = re.compile(rb"(?:[A-Za-z0-9+/]{76}\n)*[A-Za-z0-9+/]{0,76}={0,2}\n?")
_HEX, _BASE64 = (
    bytes(b"01"[chr(code) in characters] for code in range(256))
    for characters in ("0123456789abcdef", BASE64)
)
_LONGEST_DIGITS = 24
_PICKLE = re.compile(rb"\x80[\x02-\x09]")
_PRINTED = bytes(set(range(256)) - {*range(7), 14, 15, *range(17, 27), *range(28, 32), 0x7F})
_WRAPPED_SERIALIZERS = frozenset({"pickle", "compressed", "compressed/json", "compressed/pickle"})
_OF_ZIP = (zipfile.BadZipFile, NotImplementedError, RuntimeError)  # damaged, or encrypted
# What a record says of its own object, and of what that was made from.
_OWN_FIELDS = frozenset("type ext key data_hash content_digest checksum blocks manifest made".split())


def keys_in_object(url: str, nbytes: int) -> set[int]:
    """The numbers of all keys in a stored object: text or pickle, possibly compressed.

    Large objects that are none of these are taken for data, which names nothing.

    Raises:
        UnsearchableError: it is compressed or encoded, and cannot be unwrapped.
        ResourceNotFoundError, TransferError: it cannot be read.
    """
    room = Room(nbytes)
    file = opened(_blocks_of(url, nbytes), room)
    head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    is_known = _is_text(head) or _PICKLE.match(head) or unwrapping(head, is_text=False) not in (None, members)
    keys: set[int] = set()
    if nbytes <= _DATA_BYTES or is_known:
        _search(file, keys, 0, False, room)
    return keys


def keys_in_record(url: str, nbytes: int, blob: bytes, serializer: str) -> set[int]:
    """The numbers of all keys in a Prefect record that was written by another serializer.

    Args:
        url: of the record.
        nbytes: its size.
        blob: its bytes, as far as they were read already.
        serializer: type of the serializer.

    Raises UnsearchableError for a serializer that nobody here knows, and as `keys_in_object`.
    """

    def blocks() -> Iterator[bytes]:
        return iter([blob]) if len(blob) == nbytes else _blocks_of(url, nbytes)

    room = Room(nbytes)
    keys = _keys_in(blocks(), room)
    if serializer in _WRAPPED_SERIALIZERS:
        try:
            payload = opened(_payload(blocks()), room)
            _search(opened(from_base64(payload), room), keys, 1, True, room)
        except ValueError:
            raise UnsearchableError("what the serializer has written is cut") from None
    elif serializer != "json":
        raise UnsearchableError("written by a serializer that is not known here")
    return keys


def _blocks_of(url: str, nbytes: int) -> Iterator[bytes]:
    store, path = open_store(url)
    for start in range(0, nbytes, _BLOCK_BYTES):
        with translate_errors(url, "read"):
            yield bytes(fetch_block(store, path, start, min(nbytes, start + _BLOCK_BYTES)))


def _payload(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of the field `result` of a record, up to its closing quote."""
    head = b""
    for block in blocks:
        head += block
        found = _RESULT.search(head)
        if found is not None or len(head) > _BLOCK_BYTES:
            break
    else:
        return
    for block in itertools.chain([head[found.end() :] if found else b""], blocks):
        text, end, _ = block.partition(b'"')
        yield text
        if end:
            return


def keys_in_value(value: Any) -> set[int]:
    """The numbers of all keys in JSON values, except those of the records' own objects."""
    texts: list[str] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            texts.append(one)
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, Mapping):
            inner = one.get(RECORD_KEY)
            if isinstance(inner, Mapping):
                one = {name: item for name, item in inner.items() if name not in _OWN_FIELDS}
            texts += one
            waiting += one.values()
    text = ("\n".join(f'"{text}"' for text in texts)).encode("utf-8", "surrogatepass")
    return _keys_in(iter([text]), Room(len(text)))


def _keys_in(blocks: Iterator[bytes], room: Room) -> set[int]:
    keys: set[int] = set()
    _search(opened(blocks, room), keys, 0, False, room)
    return keys


def _search(file: io.BufferedReader, keys: set[int], layer: int, must_be_known: bool, room: Room) -> None:
    """Add all keys, unwrapping layer by layer."""
    head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    is_text = _is_text(head)
    unwrap = None if _PICKLE.match(head) else from_base64 if _is_base64(head) else unwrapping(head, is_text)
    if unwrap is None:
        _scan(file, keys, layer, room)
        if must_be_known and not is_text and not _PICKLE.match(head):
            raise UnsearchableError("neither a text nor a pickle, nor compressed in a way that is known")
        return
    if layer == _MOST_LAYERS:
        raise UnsearchableError("wrapped too many times")
    try:
        for part in unwrap(file) if unwrap is members else [unwrap(file)]:
            # What is in an archive may be anything, arrays say.
            _search(opened(part, room), keys, layer + 1, unwrap is not members, room)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, *_OF_ZIP) as error:
        raise UnsearchableError(f"it cannot be unwrapped: {type(error).__name__}") from None


def _is_base64(head: bytes) -> bool:
    """Whether bytes are base64 as Python writes it, not a word or a hex digest."""
    text = head.replace(b"\r\n", b"\n")
    if len(text) < 24 or _BASE64_LINES.fullmatch(text) is None:
        return False
    digits = text.replace(b"\n", b"")
    if re.search(rb"[A-Z]", digits) and re.search(rb"[g-z]", digits):
        return True
    with suppress(binascii.Error):
        inner = base64.b64decode(digits[: len(digits) // 4 * 4])
        return _PICKLE.match(inner) is not None
    return False


def _is_text(head: bytes) -> bool:
    """Whether bytes look like text in any encoding: few control characters except line ends."""
    if re.match(rb"\xff\xfe|\xfe\xff|[^\0]\0|\0{1,3}[^\0]", head):
        head = head.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")
    controls = head.translate(None, _PRINTED)
    return b"\0" not in head and len(controls) * 50 <= len(head)


def _scan(file: io.BufferedReader, keys: set[int], layer: int, room: Room) -> None:
    """Add all keys in unwrapped content, and in what is wrapped inside JSON strings."""
    rest = b""
    for chunk in chunks_of(file):
        text = rest + chunk
        rest = text[-_OVERLAP_BYTES:]
        for spelling in _spellings(text):
            for start, end in _runs(spelling, _HEX, 16):
                # In a pickle the next operation may be a letter that is a digit as well.
                for at in range(start, end - 15) if end - start <= _LONGEST_DIGITS else ():
                    keys.add(int(spelling[at : at + 16], 16))
            for start, _ in _runs(spelling, _BASE64, 64):
                if spelling[max(0, start - 1) : start + 1].startswith((b"\n", b"\\n")):
                    continue  # a line that goes on
                for begin in (start, start + 1):  # in a pickle the length before may be a letter as well
                    inner = base64.b64decode(spelling[begin : begin + 16])
                    if _PICKLE.match(inner) or unwrapping(inner, is_text=False):
                        wrapped = _BASE64_RUN.match(spelling, begin)
                        assert wrapped is not None
                        with suppress(UnsearchableError, ValueError):  # it was no such thing
                            inside = opened(from_base64(io.BytesIO(wrapped[0])), room)
                            _search(inside, keys, layer + 1, True, room)
                        room.require()


def _runs(text: bytes, kind: bytes, length: int) -> Iterator[tuple[int, int]]:
    """Start and end of all runs of so many characters of a kind; much faster than a regular expression."""
    mask = text.translate(kind)
    start = mask.find(b"1" * length)
    while start >= 0:
        end = mask.find(b"0", start)
        end = len(mask) if end < 0 else end
        yield start, end
        start = mask.find(b"1" * length, end)


def _spellings(text: bytes) -> Iterator[bytes]:
    """The text, and the text with its escapes undone, cumulatively."""
    yield text
    if b"\0" in text:  # two or four bytes a character
        text = text.translate(None, b"\0")
        yield text
    for sign, pattern in ((b"\\u00", _JSON_ESCAPE), (b"%", _PERCENT), (b"%", _PERCENT)):
        plain = pattern.sub(lambda found: bytes([int(found[1], 16)]), text) if sign in text else text
        if plain != text:
            text = plain
            yield text
