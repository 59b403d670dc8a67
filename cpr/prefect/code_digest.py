"""What names a code object: its instructions with their constants and names, without where it stands."""

from __future__ import annotations

import dis
import hashlib
import types
from typing import Any

__all__ = ["IGNORED", "digest_of_code"]

_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # *args, **kwargs; generator, coroutine, asynchronous generator
IGNORED = frozenset({"NOP", "CACHE", "RESUME", "EXTENDED_ARG", "PRECALL", "COPY_FREE_VARS", "MAKE_CELL"})
_WITHOUT_MEANING = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})


def digest_of_code(code: types.CodeType, instructions: list[dis.Instruction], nested: dict[Any, str]) -> str:
    """32 hex digits of what a code object does.

    Args:
        code: of a function, a class body or a module.
        instructions: its own, without those that are `IGNORED`.
        nested: digests of the code objects in it.
    """
    lines = [
        repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS))
    ]
    arguments = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & 0x0C).bit_count()
    lines.append(repr(code.co_varnames[:arguments]))
    places = _Places(instructions)
    for index, one in enumerate(instructions):
        following = instructions[index + 1] if index + 1 < len(instructions) else None
        if (
            following is not None
            and following.opname == "STORE_NAME"
            and following.argval in _WITHOUT_MEANING
        ):
            continue
        if one.opname == "STORE_NAME" and one.argval in _WITHOUT_MEANING:
            continue
        if one.opcode in dis.hasconst:
            lines.append(f"{one.opname} {_constant(one.argval, nested)}")
        elif one.opcode in dis.hasjrel or one.opcode in dis.hasjabs:
            lines.append(f"{one.opname} to {places.of(one.argval)}")
        else:
            lines.append(f"{one.opname} {one.argval!r}")
    for entry in getattr(dis.Bytecode(code), "exception_entries", ()):
        at = [places.of(offset) for offset in (entry.start, entry.end, entry.target)]
        lines.append(f"except {at} {entry.depth} {entry.lasti}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()[:32]


class _Places:
    """Offsets in bytecode as numbers of instructions, so that those which do nothing do not count."""

    def __init__(self, instructions: list[dis.Instruction]) -> None:
        self._offsets = [one.offset for one in instructions]
        self._index = {offset: index for index, offset in enumerate(self._offsets)}

    def of(self, offset: int) -> int:
        found = self._index.get(offset)
        return found if found is not None else sum(one < offset for one in self._offsets)


def _constant(value: Any, nested: dict[Any, str]) -> str:
    if isinstance(value, types.CodeType):
        return f"code {nested[value]}"
    if isinstance(value, tuple):
        return f"({', '.join(_constant(one, nested) for one in value)})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(_constant(one, nested) for one in value))}}}"
    return (
        f"{type(value).__name__} {value!r}"
        if not isinstance(value, int)
        else f"{type(value).__name__} {value:x}"
    )
