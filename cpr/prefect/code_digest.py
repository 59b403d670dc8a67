"""Computes the digest of a code object: instructions, constants and names, independent of line numbers.

The compiler's choice of jumps depends on line numbers. So the instructions are not taken in the order in
which they are stored but in the order in which they may run: jumps are followed, a jump to a test whose
outcome is known continues after it, and a short end of a function is repeated wherever it is reached, because
the compiler may copy it.
"""

from __future__ import annotations

import dis
import hashlib
import types
from collections.abc import Iterator
from typing import Any

__all__ = ["WITH_LOCAL", "digest_of_code", "instructions_of"]

_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200  # *args, **kwargs; generator, coroutine, asynchronous generator
_IGNORED = frozenset({"NOP", "CACHE", "RESUME", "EXTENDED_ARG", "PRECALL", "COPY_FREE_VARS", "MAKE_CELL"})
_WITHOUT_MEANING = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})
WITH_LOCAL = frozenset(dis.haslocal)
_WITH_CONSTANT = frozenset(dis.hasconst)
_ENDS = frozenset({"RETURN_VALUE", "RAISE_VARARGS", "RERAISE"})
_MOST_COPIED = 8  # instructions; the compiler copies up to 4


def instructions_of(code: types.CodeType) -> list[dis.Instruction]:
    """The meaningful instructions of a code object; combined instructions are split."""
    found = list(_each_instruction(code))
    for index in range(len(found) - 1, -1, -1):
        if found[index].opname == "SWAP":
            _swap_stores(found, index)
    return [one for one in found if one.opname != "NOP"]


def _swap_stores(found: list[dis.Instruction], index: int) -> None:
    """Reorder stores instead of their values, as the compiler does for code on one line."""
    stores = found[index + 1 : index + 1 + (found[index].arg or 0)]
    names = [one.argval for one in stores if one.opname == "STORE_FAST"]
    if (
        len(stores) == found[index].arg
        and len(set(names)) == len(names)
        and all(one.opname in ("STORE_FAST", "POP_TOP") and not one.is_jump_target for one in stores)
    ):
        first, last = stores[0], stores[-1]
        found[index] = _as(found[index], "NOP", None)
        found[index + 1] = first._replace(opname=last.opname, opcode=last.opcode, argval=last.argval)
        found[index + len(stores)] = last._replace(
            opname=first.opname, opcode=first.opcode, argval=first.argval
        )


def _each_instruction(code: types.CodeType) -> Iterator[dis.Instruction]:
    for one in dis.get_instructions(code):
        if one.opname == "RETURN_CONST":
            yield _as(one, "LOAD_CONST", one.argval)
            yield _as(one, "RETURN_VALUE", None)
        elif one.opcode in _WITH_CONSTANT and one.arg is not None:
            # dis knows the names of keyword arguments (KW_NAMES, before Python 3.13) as "<unknown>".
            yield one._replace(argval=code.co_consts[one.arg])
        elif one.opcode in WITH_LOCAL and isinstance(one.argval, tuple):  # LOAD_FAST_LOAD_FAST, say
            first, second = one.opname.replace("_LOAD", " LOAD").replace("_STORE", " STORE").split()
            yield _as(one, first, one.argval[0])
            yield _as(one, second, one.argval[1])
        elif one.opname not in _IGNORED:
            yield one


def _as(one: dis.Instruction, name: str, argval: Any) -> dis.Instruction:
    return one._replace(opname=name, opcode=dis.opmap[name], argval=argval)


def digest_of_code(code: types.CodeType, instructions: list[dis.Instruction], nested: dict[Any, str]) -> str:
    """Compute the digest of a code object, 32 hex digits.

    Args:
        code: of a function, a class body or a module.
        instructions: its own, from `instructions_of`.
        nested: digests of the code objects in it.
    """
    arguments = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & 0x0C).bit_count()
    lines = [
        repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS)),
        repr(code.co_varnames[:arguments]),
        *_Walk(code, instructions, nested).lines(),
    ]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()[:32]


class _Walk:
    """Visits instructions in the order in which they may run."""

    def __init__(
        self, code: types.CodeType, instructions: list[dis.Instruction], nested: dict[Any, str]
    ) -> None:
        self._instructions = instructions
        self._nested = nested
        self._index: dict[int, int] = {}
        for index, one in enumerate(instructions):
            self._index.setdefault(one.offset, index)
        self._offsets = [one.offset for one in instructions]
        self._handlers = self._each_handler(code)
        self._numbers: dict[int, str] = {}  # of instructions that were taken, or wait for it
        self._waiting: list[int] = []

    def _each_handler(self, code: types.CodeType) -> dict[int, tuple[int, int, bool]]:
        found = {}
        for entry in getattr(dis.Bytecode(code), "exception_entries", ()):
            handler = (self._at(entry.target), entry.depth, entry.lasti)
            found.update(dict.fromkeys(range(self._at(entry.start), self._at(entry.end)), handler))
        return found

    def _at(self, offset: int) -> int:
        """The number of the first instruction at or after an offset."""
        found = self._index.get(offset)
        return found if found is not None else sum(one < offset for one in self._offsets)

    def lines(self) -> Iterator[str]:
        yield self._place(0)
        for start in self._waiting:  # grows
            yield f"at {self._numbers[start]}"
            yield from self._run(start)

    def _run(self, index: int) -> Iterator[str]:
        handler = None
        first = True
        while index < len(self._instructions):
            index = self._through(index)
            if not first and not self._is_short_end(index):
                if index in self._numbers:
                    yield f"go to {self._numbers[index]}"
                    return
                self._numbers[index] = f"{len(self._numbers)}"
            first = False
            one = self._instructions[index]
            if self._handlers.get(index) != handler:
                handler = self._handlers.get(index)
                yield "except" if handler is None else f"except {self._place(handler[0])} {handler[1:]}"
            if one.opcode in _JUMPS:
                target, keeps = self._edge(index)
                yield f"{_test(one.opname)} {self._place(target)}{' with it' * keeps}"
                index += 1
                continue
            if not self._is_without_meaning(index):
                yield f"{one.opname} {self._argument(one)}"
            if one.opname in _ENDS:
                return
            index += 1

    def _through(self, index: int) -> int:
        """The target of unconditional jumps; the instruction itself if it is not one."""
        seen: set[int] = set()
        while index < len(self._instructions) and index not in seen:
            seen.add(index)
            one = self._instructions[index]
            if not one.opname.startswith("JUMP") or "_IF_" in one.opname:
                break
            index = self._at(one.argval)
        return index

    def _edge(self, index: int) -> tuple[int, bool]:
        """Where a test continues if it jumps, and whether it keeps the tested value."""
        one = self._instructions[index]
        target = self._through(self._at(one.argval))
        keeps = one.opname.endswith("_OR_POP")
        following = self._instructions[target] if target < len(self._instructions) else None
        # `a or b` goes on to the next test of `(a or b) and c`, whose outcome is known.
        if keeps and following is not None and _is_of_truth(following.opname):
            if ("_TRUE" in one.opname) == ("_TRUE" in following.opname):
                return self._edge(target)
            return self._through(target + 1), False
        return target, keeps

    def _place(self, index: int) -> str:
        """The number of an instruction, which is queued; for a short end, its content."""
        if self._is_short_end(index):
            return f"end {list(self._run(index))}"
        if index not in self._numbers:
            self._numbers[index] = f"{len(self._numbers)}"
            self._waiting.append(index)
        return self._numbers[index]

    def _is_short_end(self, index: int) -> bool:
        """Whether the function ends soon after an instruction, without branching."""
        for _ in range(_MOST_COPIED):
            index = self._through(index)
            one = self._instructions[index] if index < len(self._instructions) else None
            if one is None or one.opcode in _JUMPS:
                return False
            if one.opname in _ENDS:
                return True
            index += 1
        return False

    def _is_without_meaning(self, index: int) -> bool:
        for one in self._instructions[index : index + 2]:
            if one.opname == "STORE_NAME" and one.argval in _WITHOUT_MEANING:
                return True
        return False

    def _argument(self, one: dis.Instruction) -> str:
        return _constant(one.argval, self._nested) if one.opcode in _WITH_CONSTANT else repr(one.argval)


def _test(name: str) -> str:
    """What a jump tests; equal for variants such as `POP_JUMP_BACKWARD_IF_TRUE` and `JUMP_IF_TRUE_OR_POP`."""
    if not _is_of_truth(name):
        return name.replace("FORWARD_", "").replace("BACKWARD_", "")
    return "IF_TRUE" if "_TRUE" in name else "IF_FALSE"


def _is_of_truth(name: str) -> bool:
    return "JUMP" in name and ("_IF_TRUE" in name or "_IF_FALSE" in name)


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
