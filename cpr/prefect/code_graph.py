"""The graph of the user's code that a task uses: functions and classes, and everything those use in turn.

The graph is built from the objects in this process, so that the result is the same for a module, a script, a
notebook and code that was sent to a worker by value. Of a module only what is used counts; if the module
object is passed on, all of it does. Of a class everything counts, including its base classes. Installed
packages and Python's own library count by name.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from cpr.errors import CprError
from cpr.prefect.annotations import values_in_annotations
from cpr.prefect.class_description import describe_class
from cpr.prefect.class_members import (
    BUILT_IN,
    OF_DISPATCH,
    OF_MODULES,
    OF_NO_MATTER,
    is_found,
    is_no_code,
    kind_of,
)
from cpr.prefect.code_introspection import answers
from cpr.prefect.code_memo_validity import MISSING, Guards
from cpr.prefect.code_nodes import Node
from cpr.prefect.code_put_into_packages import own_registered_with, put_into_classes, reached_in
from cpr.prefect.code_references import ASKED, facts_of
from cpr.prefect.code_values import Change, Import, Reference
from cpr.prefect.description_graph import Part, Unordered
from cpr.prefect.lazy_imports import Imports, is_bound, submodules_of
from cpr.prefect.name_resolution import Unbound, behind, through_modules, unseen_code_in
from cpr.prefect.own_code import (
    file_of_module,
    is_extension,
    is_own_class,
    is_own_function,
    is_own_module,
    name_in_package,
    version_of_file,
)
from cpr.prefect.qualified_names import name_of

__all__ = ["CodeGraph"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@dataclass
class CodeGraph:
    """Numbers functions and classes in order of discovery, and describes each once.

    Attributes:
        describe: describes data, under a label.
        is_unchanged: whether a module that was imported is what its file has made it, but for some names.
        home: name of the module whose things are called without it.
        exclude: names and labels of what is passed over.
        without_code: a function whose code does not count, only what it uses.
        guards: what the descriptions depend on, besides data.
        imports: modules that functions import when they run.
        opaque: code that cannot be looked into.
        unseen: places where code is brought in by a name that is not written there.
        named_in: lists and dicts of attributes, by label of each.
        asked: names by which code, what counts elsewhere too, asks for what code is called, say.
    """

    describe: Callable[[Any, str, bool], Any] | None = None
    is_unchanged: Callable[[types.ModuleType, Collection[str]], bool] | None = None
    home: str | None = None
    exclude: Collection[str] = ()
    without_code: Any = None
    guards: Guards = field(default_factory=Guards)
    imports: Imports = field(init=False)
    nodes: list[Node] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    named_in: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    _known: dict[int, Node] = field(default_factory=dict)
    _made: dict[int, Part] = field(default_factory=dict)
    _described: int = 0
    _put_in: list[tuple[str, str, Any]] | None = None

    def __post_init__(self) -> None:
        self.imports = Imports(self._add, self.is_unchanged)

    def complete(self) -> None:
        """Describe everything found, and what it uses in turn."""
        while self._described < len(self.nodes):
            node = self.nodes[self._described]
            self._described += 1
            try:
                if node.kind == "class":
                    describe_class(node, self)
                elif node.kind == "function":
                    self._describe_function(node)
                else:
                    self._describe_module(node)
            except CprError:
                raise
            except Exception as error:
                # Metaclasses and descriptors may fail in any way when they are looked at.
                self.opaque.append(f"{node.label} ({type(error).__name__})")
                node.own = node.part.description = ["opaque", node.kind, node.label]
        self._answer()

    def _answer(self) -> None:
        """Add what the code asks about code (names, docstrings)."""
        functions = [one.value for one in self.nodes if one.kind == "function"]
        asked = self.asked.union(*(ASKED & facts_of(one.__code__).names for one in functions))
        for node in self.nodes if asked else ():
            if node.asked != asked:
                node.asked = asked
                node.own = ["asked", node.own, given := answers(node.value, asked, self.guards)]
                node.part.description = ["asked", node.part.description, given]
        self.asked = asked

    def code(self, value: Any, label: str = "") -> Any:
        """Describe a function, class or module; None for data.

        Of the user's own it is a part, of installed packages `["named", ...]`.
        """
        cls = type(value)  # what a proxy says that it is may be anything
        if cls is types.FunctionType:
            return self._add(value) if is_own_function(value) else self._foreign_function(value)
        if issubclass(cls, type):
            return self._add(value) if is_own_class(value) else self._foreign_class(value)
        if issubclass(cls, types.ModuleType):
            return self.module(value)
        if issubclass(cls, BUILT_IN) or type(value).__name__ == "cython_function_or_method":
            module = sys.modules.get(getattr(value, "__module__", None) or "")
            if module is not None and is_own_module(module):
                return ["named", name_of(value), self.module(module)]
            return None
        inner = behind(value, self.guards)
        return None if inner is None else ["wrapper", name_of(type(value)), self.any(inner, label)]

    def _add(self, value: Any) -> Part:
        node = self._known.get(id(value))
        if node is None:
            node = self._known[id(value)] = Node(self._label(value), value, kind_of(value), len(self.nodes))
            self.nodes.append(node)
        return node.part

    def _label(self, value: Any) -> str:
        if isinstance(value, types.ModuleType):
            return value.__name__
        is_function = isinstance(value, types.FunctionType)
        module = value.__globals__.get("__name__") if is_function else value.__module__
        return self._named_in(module, value.__qualname__)

    def _label_of_code(self, value: Any) -> str:
        return self._label(value) if isinstance(value, (types.FunctionType, type)) else ""

    def _named_in(self, module: Any, name: str) -> str:
        return name if module == self.home or not isinstance(module, str) else f"{module}.{name}"

    def any(self, value: Any, label: str, by_key: bool = False) -> Any:
        """Describe code or data; for a dict used only by its keys, independent of order."""
        assert self.describe is not None
        code = self.code(value, label)
        return self.describe(value, label, by_key) if code is None else code

    def _foreign_function(self, function: types.FunctionType) -> Any:
        """Describe a function of an installed package: by name, or by the user's code inside it."""
        name = name_of(function)
        wrapped = function.__dict__.get("__wrapped__")
        module = str(function.__globals__.get("__name__"))
        if wrapped is not None and module.partition(".")[0] in ("cpr", "prefect"):
            return self.code(wrapped)
        if wrapped is None and is_found(function):
            return ["named", name]
        known = self._made.get(id(function))
        if known is not None:
            return known
        made = self._made[id(function)] = Part()
        held = {
            cell_name: self.any(value, name)
            for cell_name, value in self._cells(function).items()
            if value is not wrapped and (module != "functools" or cell_name not in OF_DISPATCH)
        }
        registry = function.__dict__.get("registry")
        if isinstance(registry, Mapping):  # functools.singledispatch
            held["registry"] = {name_of(cls): self.any(one, name) for cls, one in registry.items()}
        made.description = [
            "made",
            facts_of(function.__code__).digest,
            None if wrapped is None else self.any(wrapped, name),
            held,
        ]
        return made

    def _foreign_class(self, cls: type) -> Any:
        """Describe an installed class, with the user's classes registered with it if it is abstract."""
        own = self.guards.outcome(own_registered_with, cls) if "_abc_impl" in vars(cls) else ()
        return ["registered", name_of(cls), Unordered(map(self._add, own))] if own else None

    def _in_classes(self, names: Collection[str], label: str) -> list[Any]:
        """Describe what the user has put into installed classes under some of these names."""
        if self._put_in is None:
            self._put_in = list(put_into_classes(self.guards))
        return [[cls, name, self.any(one, label)] for cls, name, one in self._put_in if name in names]

    def _describe_function(self, node: Node) -> None:
        function: types.FunctionType = node.value
        facts = facts_of(function.__code__)
        counts = function is not self.without_code
        self.guards.attribute(function, "__code__")
        defaults = [
            self.any(value, f"{node.label}.{name}") if value else None
            for name in ("__defaults__", "__kwdefaults__")
            for value in [self.guards.attribute(function, name)]
        ]
        node.own = ["function", facts.digest if counts else None, defaults if counts else None]
        uses = []
        cells = self._cells(function)
        used: tuple[Reference | Change, ...] = (*facts.reads, *facts.writes)
        for use in used:
            one = use.reference if isinstance(use, Change) else use
            found = self._use(function, cells, use, node.label, by_key=one not in facts.whole)
            if found is not None:
                uses.append([one.scope, one.name, *one.attributes, found])
        attributes = {
            name: self.any(value, f"{node.label}.{name}")
            for name, value in self.guards.items(function.__dict__).items()
            if name not in OF_NO_MATTER
        }
        self.named_in.update((f"{node.label}.{name}", (attributes,)) for name in attributes)
        imports = [self.imports.describe(one, function.__globals__, facts.changed) for one in facts.imports]
        annotations = self.guards.attribute(function, "__annotations__")
        found = (
            values_in_annotations(annotations.values(), function.__globals__, self.guards)
            if annotations
            else ()
        )
        led_to = [self.any(one, f"{node.label}.__annotations__") for one in found]
        in_classes = self._in_classes(facts.names, node.label)
        node.part.description = [*node.own, uses, attributes, [one for one in imports if one], led_to]
        node.part.description += [in_classes] if in_classes else []

    def _cells(self, function: types.FunctionType) -> dict[str, Any]:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        found = {name: self.guards.attribute(cell, "cell_contents") for name, cell in cells}
        return {name: value for name, value in found.items() if value is not MISSING}

    def holds(self) -> bool:
        """Whether the code is unchanged since it was described; data is not checked."""
        return self.guards.hold() and self.imports.hold()

    def _use(
        self,
        function: types.FunctionType,
        cells: Mapping[str, Any],
        use: Reference | Change,
        label: str,
        by_key: bool,
    ) -> Any:
        one = use.reference if isinstance(use, Change) else use
        names = {"closure": cells, "global": function.__globals__, "import": sys.modules}[one.scope]
        if one.name in self.exclude:
            return None
        value = self.guards.lookup(names, one.name) if one.scope == "global" else names.get(one.name, MISSING)
        by_name = unseen_code_in(function, names, one)
        if by_name is not None:
            self.unseen.append(f"{self._label(function)}, {by_name}")
        if value is MISSING or one.scope == "import":  # of the user's own it counts with the statement
            return None
        if one.scope == "global":
            label = self._named_in(function.__globals__.get("__name__"), one.name)
        else:
            label = one.name if function is self.without_code else f"{label}.{one.name}"
        value, label, home, steps = through_modules(value, one.attributes, label, self.guards)
        if home is not None:
            label = self._named_in(home, label)
        if isinstance(value, types.ModuleType) and not is_own_module(value):
            inner = reached_in(value, one.attributes[steps:], self.guards)
            if inner is not None and (own := self.code(inner, label)) is not None:
                return ["in a package", own]
        if (
            value is function
            or not {label, self._label_of_code(value)}.isdisjoint(self.exclude)
            or (
                isinstance(use, Change)
                and self.guards.outcome(is_no_code, value, max(use.depth - steps, 0), use.called)
            )
        ):
            return None
        if isinstance(value, Unbound):
            return self._unbound(value)
        if "__subclasses__" in one.attributes and isinstance(value, type):
            return ["with subclasses", self.any(value, label), self.subclasses(value)]
        named = name_in_package(value)
        return self.any(value, label, by_key) if named is None else ["named", named]

    def subclasses(self, cls: type) -> Unordered:
        """Describe the user's subclasses of a class."""
        return Unordered(self._add(one) for one in self.guards.subclasses(cls) if is_own_class(one))

    def _unbound(self, value: Unbound) -> Any:
        """The same description for a missing module attribute and one that `__getattr__` has made since."""
        names = vars(value.module)
        answer = self.guards.lookup(names, "__getattr__")
        if answer is MISSING:
            submodule = Import(0, f"{value.module.__name__}.{value.name}", ())
            return [
                "missing",
                value.name,
                self.imports.describe(submodule, names) if "__path__" in names else None,
            ]
        return ["lazy", value.name, self.any(answer, "__getattr__"), self._submodules(value.module)]

    def _submodules(self, package: types.ModuleType) -> Any:
        found = submodules_of(package)
        return None if found is None else self.imports.describe(found, vars(package))

    def module(self, module: types.ModuleType) -> Any:
        """Describe a module."""
        if not is_own_module(module):
            return ["named", module.__name__]
        if is_extension(module):
            return ["extension", version_of_file(file_of_module(module) or "")]
        more = self._submodules(module)
        return self._add(module) if more is None else ["package", self._add(module), more]

    def _describe_module(self, node: Node) -> None:
        module: types.ModuleType = node.value
        found = {}
        for name, value in self.guards.items(vars(module)).items():
            label = self._named_in(module.__name__, name)
            if name in OF_MODULES or label in self.exclude:
                continue
            is_submodule = isinstance(value, types.ModuleType) and value.__name__ == label
            if (is_submodule or "__getattr__" in vars(module)) and not is_bound(module, name):
                continue  # it is there because it was imported or asked for elsewhere
            named = name_in_package(value)
            found[name] = self.any(value, label) if named is None else ["named", named]
        node.own = ["module", sorted(found)]
        node.part.description = ["module", found]
