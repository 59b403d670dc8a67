"""Follows code that is looked up by a literal name: `globals()["f"]`, `import_module("lab.gain")`."""

from __future__ import annotations

import contextlib
import types
from dataclasses import dataclass, field, replace

from cpr.prefect.code_values import NOTHING, Import, Reference, Value, attribute_of, named

__all__ = ["ByName", "is_modules"]


def is_modules(value: Value, attributes: tuple[str, ...] = ("modules",)) -> bool:
    """Whether it is `sys.modules`, or another attribute of `sys`."""
    return len(value.names) == 1 and all(
        (one.name, one.attributes) == ("sys", attributes) for one in value.names
    )


@dataclass
class ByName:
    """Resolves literal names in code.

    Attributes:
        imports: modules that are imported, or taken from `sys.modules`.
        used: what was called, or looked into, with literals alone.
        texts: literal texts that are run, compiled.
        read: values that are used in ways that cannot be followed.
    """

    imports: set[Import] = field(default_factory=set)
    used: set[Reference] = field(default_factory=set)
    texts: list[types.CodeType] = field(default_factory=list)
    read: list[Value] = field(default_factory=list)

    def item(self, value: Value, key: Value) -> Value | None:
        """The value under a literal name in a module's namespace or `sys.modules`; None for anything else."""
        if is_modules(value) and not value.own:
            if key.names == {Reference("global", "__name__")}:
                return Value(value.names, own=True)
            return self._imported(value.names, [key])
        if not value.space or key.text is None:
            return None
        if value.own:
            self.used.update(value.names)
            return named(Reference("global", key.text))
        return attribute_of(value, key.text)

    def call(self, callee: list[Value], arguments: list[Value]) -> Value | None:
        """The result of a call that gets code by a literal name; None for any other call."""
        values = [one for one in callee if one.names]
        if len(values) != 1 or len(values[0].names) != 1 or not (values[0].extends or values[0].own):
            return None
        names = values[0].names
        (reference,) = names
        is_get = values[0].own or is_modules(values[0], ("modules", "get"))
        if values[0].method == "get" and arguments and is_get:
            self.read += arguments[1:]
            where = replace(reference, attributes=reference.attributes[:1])
            return self.item(replace(values[0], names=frozenset({where})), arguments[0])
        first = arguments[0] if arguments else NOTHING
        match [reference.name, *reference.attributes][-1], len(arguments):
            case "globals", 0:
                return Value(names, own=True, space=True)
            case "vars", 1 if first.extends or first.own:
                self.used.add(reference)
                return replace(first, space=True)
            case "getattr", 2 | 3 if arguments[1].text is not None and (first.extends or first.own):
                self.read += arguments[2:]
                self.used.update({reference, *(first.names if first.own else ())})
                return attribute_of(first, arguments[1].text)
            case "import_module" | "__import__", 1 | 2:
                return self._imported(names, arguments)
            case ("eval" | "exec") as mode, _ if first.text is not None:
                with contextlib.suppress(SyntaxError, ValueError):
                    self.texts.append(compile(first.text.strip(), "<text>", mode))
                    self.read += arguments[1:]
                    self.used.add(reference)
                    return NOTHING
        return None

    def _imported(self, names: frozenset[Reference], arguments: list[Value]) -> Value | None:
        """The module imported by a literal name, with the package that it is relative to."""
        name, package = [*arguments, NOTHING][:2]
        if name.text is None:
            return None
        module = name.text.lstrip(".")
        level = len(name.text) - len(module)
        if package.text is not None and level:
            parts = package.text.split(".")
            module, level = ".".join([*parts[: len(parts) - level + 1], module]), 0
        elif len(arguments) > 1 and package.names != {Reference("global", "__package__")}:
            return None
        self.imports.add(Import(level, module, ()))
        self.used.update(names)
        return NOTHING
