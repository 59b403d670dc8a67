"""Analyses bytecode: what a code object does, and which names it refers to; nothing is run or imported.

Every process has the bytecode, also of code that came by value or was typed at a prompt, and bytecode is what
runs, whatever a file contains by now. Line numbers, comments and docstrings are ignored.

A name is *read* if its value can reach anything but itself. `calls.append(x)`, `counts["x"] += 1` and
`counts["x"] = counts.get("x", 0) + 1` only write. Where the order of evaluation cannot be followed, across a
branch for instance, names count as read.
"""

from __future__ import annotations

import dis
import inspect
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from cpr.prefect.code_by_name import ByName, is_modules
from cpr.prefect.code_digest import WITH_LOCAL, digest_of_code, instructions_of
from cpr.prefect.code_values import NOTHING, Change, Import, Reference, Value, attribute_of, named, roots

__all__ = ["ASKED", "MAKERS", "CodeFacts", "facts_of"]

_CHANGING = frozenset(
    "add append appendleft clear discard extend insert pop popleft popitem put put_nowait remove reverse"
    " setdefault sort update write".split()
)
# How code asks for what is not in what code does: what it is called, says of itself, and where it stands.
ASKED = frozenset(
    "__name__ __qualname__ __module__ __doc__ getdoc __annotations__ get_annotations get_type_hints signature"
    " getfullargspec getsource getsourcelines __dict__ vars".split()
)
# Methods that fill an object which nobody has yet.
MAKERS = frozenset({"__init__", "__new__", "__post_init__", "__setstate__"})
_NULL_FIRST = sys.version_info < (3, 13)


@dataclass(frozen=True)
class CodeFacts:
    """The facts about a code object, including nested functions.

    Attributes:
        digest: 32 hex digits of what it does; equal wherever it stands in a file.
        reads: names whose values count.
        whole: the names among them of which more than single keys are used.
        writes: names of what it changes in place without reading it.
        imports: the import statements, and what is imported by a literal name.
        by_name: what it calls with nothing but literals to get at code by name, as `eval("gain(x)")`; what
            these lead to is among the others. Where the name is computed the function is among `reads`.
        changed: names, of variables and attributes, that lead to what it changes or binds anew.
        names: all names in it, of attributes too, and texts, which may be such.
    """

    digest: str
    reads: tuple[Reference, ...]
    whole: frozenset[Reference]
    writes: tuple[Change, ...]
    imports: tuple[Import, ...]
    by_name: frozenset[Reference]
    changed: frozenset[str]
    names: frozenset[str]


_known: WeakKeyDictionary[types.CodeType, CodeFacts] = WeakKeyDictionary()


def facts_of(code: types.CodeType) -> CodeFacts:
    """Analyse a code object; cached.

    >>> [one.name for one in facts_of((lambda x: SIGMA * x).__code__).reads]
    ['SIGMA']
    """
    facts = _known.get(code)
    if facts is None:
        facts = _known[code] = _scan(code, frozenset(code.co_freevars))
    return facts


def _scan(code: types.CodeType, closure: frozenset[str]) -> CodeFacts:
    instructions = instructions_of(code)
    new = code.co_varnames[0] if code.co_name in MAKERS - {"__new__"} and code.co_argcount else None
    in_class = not code.co_flags & inspect.CO_OPTIMIZED and code.co_name != "<module>"
    scan = _Scan(closure, _bound_once(code, instructions), new, in_class)
    for instruction in instructions:
        scan.step(instruction)
    scan.flush()
    reads, writes, imports = scan.reads, scan.writes, scan.imports | scan.by_name.imports
    by_name, changed, whole = scan.by_name.used, scan.changed, scan.whole
    names = {*code.co_names, *(one for one in code.co_consts if isinstance(one, str))}
    nested = {}
    for constant in [*code.co_consts, *scan.by_name.texts]:
        if isinstance(constant, types.CodeType):
            free = frozenset(constant.co_freevars)
            inner = facts_of(constant) if free <= closure else _scan(constant, closure & free)
            nested[constant] = inner.digest
            reads.update(inner.reads)
            writes.update(inner.writes)
            imports.update(inner.imports)
            by_name.update(inner.by_name)
            changed.update(inner.changed)
            whole.update(inner.whole)
            names.update(inner.names)
    return CodeFacts(
        digest_of_code(code, instructions, nested),
        tuple(sorted(reads)),
        frozenset(whole),
        tuple(sorted(one for one in writes if one.reference not in reads)),
        tuple(sorted(imports)),
        frozenset(by_name),
        frozenset(changed),
        frozenset(names),
    )


def _bound_once(code: types.CodeType, instructions: list[dis.Instruction]) -> frozenset[str]:
    """Local variables that are aliases of one value wherever they are read."""
    arguments = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & 0x0C).bit_count()
    bound = [one.argval for one in instructions if "STORE_FAST" in one.opname or one.opname == "DELETE_FAST"]
    given = code.co_varnames[:arguments]
    met: set[str] = set()
    early = set()  # in a loop, read where they may have been bound the last time
    for one in instructions:
        if one.opcode in WITH_LOCAL and "STORE_FAST" not in one.opname and one.argval not in met:
            early.add(one.argval)
        met.add(one.argval) if one.opname == "STORE_FAST" else None
    return frozenset(name for name in bound if bound.count(name) == 1 and name not in {*given, *early})


_LOADS = {
    "LOAD_GLOBAL": "global",
    "LOAD_NAME": "global",
    "LOAD_FROM_DICT_OR_GLOBALS": "global",
    "LOAD_DEREF": "closure",
    "LOAD_CLASSDEREF": "closure",
    "LOAD_FROM_DICT_OR_DEREF": "closure",
}
_PUSHESNOTHING = frozenset(
    "LOAD_FAST_CHECK LOAD_FAST_AND_CLEAR LOAD_FAST_BORROW LOAD_SMALL_INT LOAD_CLOSURE"
    " PUSH_NULL LOAD_BUILD_CLASS LOAD_ASSERTION_ERROR".split()
)
# Take some values, and give one that is computed from them.
_COMPUTES = frozenset(
    "BINARY_OP BINARY_SLICE COMPARE_OP IS_OP CONTAINS_OP UNARY_NEGATIVE UNARY_NOT UNARY_INVERT"
    " UNARY_POSITIVE TO_BOOL BUILD_TUPLE BUILD_LIST BUILD_SET BUILD_MAP BUILD_CONST_KEY_MAP BUILD_STRING"
    " BUILD_SLICE FORMAT_VALUE FORMAT_SIMPLE FORMAT_WITH_SPEC CONVERT_VALUE MAKE_FUNCTION".split()
)


@dataclass
class _Scan:
    """Follows the stack along straight code; if it cannot, everything on the stack counts as read."""

    closure: frozenset[str]
    bound_once: frozenset[str]
    new: str | None  # the variable of an object that it makes
    in_class: bool
    reads: set[Reference] = field(default_factory=set)
    whole: set[Reference] = field(default_factory=set)
    writes: set[Change] = field(default_factory=set)
    imports: set[Import] = field(default_factory=set)
    by_name: ByName = field(default_factory=ByName)
    changed: set[str] = field(default_factory=set)
    _stack: list[Value] = field(default_factory=list)
    _aliases: dict[str, Value] = field(default_factory=dict)
    _before: list[Any] = field(default_factory=list)

    def step(self, one: dis.Instruction) -> None:
        if one.is_jump_target:
            self.flush()
        name = one.opname
        if one.opcode in WITH_LOCAL and name not in ("LOAD_FAST", "STORE_FAST"):
            names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
            self._read(self._aliases.get(local, NOTHING) for local in names)
        if name in _LOADS:
            self._load(one)
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            self._attribute(one)
        elif (
            name == "STORE_FAST" and one.argval in self.bound_once and self._stack and self._stack[-1].inside
        ):
            self._aliases[one.argval] = self._stack.pop()
        elif name == "LOAD_CONST":
            self._stack.append(Value(text=one.argval) if isinstance(one.argval, str) else NOTHING)
        elif name == "LOAD_FAST":
            self._stack.append(self._aliases.get(one.argval, Value(trail=(one.argval,))))
        elif name in _PUSHESNOTHING:
            self._stack.append(NOTHING)
        elif name == "CONTAINS_OP" and self._stack and is_modules(self._stack[-1]):
            self._stack.pop()  # whether a module was imported brings in no code
        elif name == "CONTAINS_OP" and self._stack:
            container = self._pop()
            self._stack.append(replace(container, keyed=True))
            self._compute(2)
        elif name in _COMPUTES:
            self._compute(1 - dis.stack_effect(one.opcode, one.arg, jump=False))
        elif name == "BINARY_SUBSCR":
            self._item()
        elif name in ("COPY", "SWAP"):
            self._move(name, one.arg or 1)
        elif name == "CALL":
            self._call(one.arg or 0)
        elif name == "CALL_KW":
            self._pop()
            self._call(one.arg or 0)
        elif name == "POP_TOP":
            self._drop(self._pop())
        elif name in _STORES:
            self._store(name, one.argval)
        elif name == "IMPORT_NAME":
            level, names = (*self._before, 0, None)[:2]
            self.imports.add(Import(level or 0, one.argval, tuple(names or ())))
            self.flush()
            module = one.argval if names else one.argval.partition(".")[0]
            self._stack.append(NOTHING if level else named(Reference("import", module)))
        elif name == "IMPORT_FROM":
            self._stack.append(attribute_of(self._stack[-1] if self._stack else NOTHING, one.argval))
        elif name != "KW_NAMES":
            self.flush()
        self._before = [*self._before, one.argval][-2:]

    def flush(self) -> None:
        """Count everything on the stack as read."""
        self._read([*self._stack, *self.by_name.read])
        self._stack.clear()

    def _pop(self) -> Value:
        return self._stack.pop() if self._stack else NOTHING

    def _read(self, values: Iterable[Value], but: frozenset[tuple[str, str]] = frozenset()) -> None:
        for value in values:
            names = {one for one in value.names if (one.scope, one.name) not in but}
            self.reads |= names
            if not value.keyed:
                self.whole |= names

    def _load(self, one: dis.Instruction) -> None:
        scope = _LOADS[one.opname]
        if scope == "closure" and one.argval not in self.closure:
            value = NOTHING  # a variable of a function around this one, or of itself
        else:
            value = named(Reference(scope, one.argval))  # type: ignore[arg-type]
        with_null = one.opname == "LOAD_GLOBAL" and one.arg is not None and one.arg & 1
        if with_null:
            self._stack += [NOTHING, value] if _NULL_FIRST else [value, NOTHING]
        else:
            self._stack.append(value)

    def _attribute(self, one: dis.Instruction) -> None:
        value = self._pop()
        names = value.names
        if one.argval in _CHANGING:
            self.changed.update(value.trail)
        if one.argval == "__dict__" and (value.extends or value.own):
            self._stack.append(replace(value, space=True))
            return
        if value.own and not value.space:
            value = named(Reference("global", one.argval))
            names = value.names
        elif value.extends and not value.space:  # a method of a module's names is none of its attributes
            names = attribute_of(value, one.argval).names
        more = value.own and value.space
        trail = (*value.trail, one.argval)
        found = Value(names, value.inside, value.extends, one.argval, own=more, space=more, trail=trail)
        self._stack.append(replace(found, keyed=value.keyed, depth=value.depth + 1))
        is_method = one.opname == "LOAD_METHOD" or (
            sys.version_info >= (3, 12) and one.arg is not None and one.arg & 1
        )
        if is_method:
            self._stack.append(NOTHING)

    def _item(self) -> None:
        key, value = self._pop(), self._pop()
        found = self.by_name.item(value, key)
        if found is not None:
            self._stack.append(found)
            return
        self._read([key])
        depth = value.depth + 1
        self._stack.append(Value(value.names, value.inside, keyed=True, depth=depth, trail=value.trail))

    def _compute(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        names: frozenset[Reference] = frozenset().union(*(one.names for one in values))
        self._stack.append(Value(names, keyed=all(one.keyed for one in values if one.names)))

    def _move(self, name: str, depth: int) -> None:
        if depth > len(self._stack):
            self.flush()
        elif name == "COPY":
            self._stack.append(self._stack[-depth])
        else:
            self._stack[-1], self._stack[-depth] = self._stack[-depth], self._stack[-1]

    def _call(self, count: int) -> None:
        arguments = [self._pop() for _ in range(count)]
        callee = [self._pop(), self._pop()]
        found = self.by_name.call(callee, arguments[::-1])
        if found is not None:
            self._stack.append(found)
            return
        if any(one.trail == ("next",) for one in callee):
            self.changed.update(*(one.trail for one in arguments))
        methods = {one.method for one in callee if one.names and one.inside}
        own = roots(callee)
        if len(methods) == 1 and methods <= _CHANGING:
            self._read(arguments, but=own)
            changed = callee[0] if callee[0].names else callee[1]
            self._stack.append(Value(changed.names, changed=True, depth=changed.depth - 1))
        elif methods == {"get"}:
            self._read(arguments)
            self._stack.append(Value(callee[0].names | callee[1].names, keyed=True))
        else:
            self._read([*arguments, *callee])
            self._stack.append(NOTHING)

    def _drop(self, value: Value) -> None:
        if value.changed:
            self.writes.update(Change(one, value.depth, called=True) for one in value.names)
        else:
            self._read([value])

    def _store(self, name: str, argval: Any) -> None:
        if name in ("STORE_GLOBAL", "STORE_DEREF", "STORE_NAME"):
            scope = "closure" if name == "STORE_DEREF" else "global"
            if not (name == "STORE_NAME" and self.in_class):  # a class is made, and nobody has it yet
                self.changed.add(argval)
            self._read([self._pop()], but=frozenset({(scope, argval)}))
            return
        keys = {"STORE_SUBSCR": 1, "DELETE_SUBSCR": 1, "STORE_SLICE": 2}.get(name, 0)
        self._read([self._pop() for _ in range(keys)])
        container = self._pop()
        if keys or container.trail != (self.new,):
            self.changed.update(container.trail if keys else (*container.trail, argval))
        if container.inside:
            self.writes.update(Change(one, container.depth, called=False) for one in container.names)
        elif not container.own:
            self._read([container])
        if not name.startswith("DELETE"):
            self._read([self._pop()], but=roots([container]) if container.inside else frozenset())


_STORES = frozenset(
    "STORE_GLOBAL STORE_DEREF STORE_NAME STORE_SUBSCR STORE_SLICE STORE_ATTR"
    " DELETE_SUBSCR DELETE_ATTR".split()
)
