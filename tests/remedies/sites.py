"""Every place in cpr's source that names a remedy, and which of them a call came through.

A place is a call that makes an error with a remedy, an assignment to `error.remedy`, or a warning. It is
known by where it stands in the source, and nothing is to be written down when one is added, moved or
reworded: the source is parsed, and errors are followed to the line that made them.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import cpr.errors
import cpr.format
from cpr.errors import CprError

TOP = Path(cpr.errors.__file__).parent
_ERRORS = set(cpr.errors.__all__)
_MAKERS = {"damaged": cpr.format.damaged, "unusable": cpr.format.unusable}
_OF_ARGUMENTS = {"damaged": 3, "unusable": 4}
_WARNS = {"warn_user", "warn"}
_ANYTHING = ".*"


@dataclass(frozen=True)
class Site:
    """A place that names a remedy.

    Attributes:
        path: of the module.
        first: its first line.
        last: its last line.
        where: the function that it is in.
        texts: what it may say, as regular expressions.
    """

    path: Path
    first: int
    last: int
    where: str
    texts: tuple[str, ...] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.path.relative_to(TOP.parent)}:{self.first} {self.where}"


def sites(*places: str) -> list[Site]:
    """The places of modules and packages of cpr: "image", "zarr/reading.py"."""
    found = []
    for place in places:
        path = TOP / place
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found += _Module(module).sites()
    return found


class _Module:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._tree = ast.parse(path.read_text())
        self._constants = {
            target.id: node.value
            for node in self._tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def sites(self) -> Iterator[Site]:
        yield from self._of(self._tree, "", self._tree)

    def _of(self, node: ast.AST, where: str, function: ast.AST) -> Iterator[Site]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                name = f"{where}.{child.name}".lstrip(".")
                yield from self._of(child, name, child if isinstance(child, ast.FunctionDef) else function)
                continue
            if (remedy := self._remedy(child, where)) is not None:
                texts = tuple(remedy if isinstance(remedy, list) else self._texts(remedy, function))
                yield Site(self._path, child.lineno, child.end_lineno or child.lineno, where, texts)
            yield from self._of(child, where, function)

    def _remedy(self, node: ast.AST, where: str) -> Any:
        """What says the remedy; None for what names none."""
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Attribute) and target.attr == "remedy" for target in node.targets
        ):
            return node.value
        if not isinstance(node, ast.Call):
            return None
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in _WARNS and where != "warn_user":
            return node.args[0]
        for keyword in node.keywords:
            if keyword.arg == "remedy" and name != "partial":
                return keyword.value
        if name == "option_error" or isinstance(self._constants.get(name), ast.Call):
            return self._of_option(node, name)
        if name in _MAKERS:
            at = _OF_ARGUMENTS[name]
            if len(node.args) > at:
                return node.args[at]
            return [re.escape(str(_MAKERS[name].__defaults__[0]))]
        return None

    def _of_option(self, node: ast.Call, name: str) -> Any:
        """What says the remedy of an error about an option: `partial(unusable, problem, ...)`."""
        if len(node.args) > _OF_ARGUMENTS["unusable"] - 1:
            return node.args[_OF_ARGUMENTS["unusable"] - 1]
        made = self._constants.get(name)
        if isinstance(made, ast.Call) and ast.unparse(made.func) != "partial":
            return None
        given = (
            {keyword.arg: keyword.value for keyword in made.keywords} if isinstance(made, ast.Call) else {}
        )
        return given.get("remedy", [re.escape(str(cpr.format.unusable.__defaults__[0]))])  # type: ignore[index]

    def _texts(
        self, node: ast.AST, function: ast.AST, names: frozenset[tuple[ast.AST, str]] = frozenset()
    ) -> list[str]:
        """What an expression may say: both branches, all values of a table, what is assigned to a name."""
        if isinstance(node, ast.Constant):
            return [re.escape(str(node.value))]
        if isinstance(node, ast.JoinedStr):
            parts = [self._texts(part, function, names) for part in node.values]
            return ["".join(chosen) for chosen in itertools.product(*parts)]
        if isinstance(node, ast.FormattedValue):
            # What a name stands for is one text or another; what is computed may be any.
            plain = node.conversion < 0 and isinstance(node.value, (ast.Name, ast.IfExp))
            known = plain and self._texts(node.value, function, names)
            return known or [_ANYTHING]
        if isinstance(node, ast.IfExp):
            return self._texts(node.body, function, names) + self._texts(node.orelse, function, names)
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in self._texts(value, function, names)]
        if isinstance(node, ast.Dict):
            return [text for value in node.values for text in self._texts(value, function, names)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            return [
                t for part in (node.func.value, *node.args[1:]) for t in self._texts(part, function, names)
            ]
        if isinstance(node, ast.Name) and (function, node.id) in names:
            return []  # a name that is made of itself
        if isinstance(node, ast.Name):
            names |= {(function, node.id)}
            given = [(value, function) for value in self._assigned(node.id, function)]
            given += self._passed(node.id, function)
            if not given and node.id in self._constants:
                given = [(self._constants[node.id], self._tree)]
            return [text for value, there in given for text in self._texts(value, there, names)] or [
                _ANYTHING
            ]
        return [_ANYTHING]

    def _passed(self, name: str, function: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """What the module gives to a function as an argument, and in which function."""
        if not isinstance(function, ast.FunctionDef):
            return
        names = [argument.arg for argument in function.args.args]
        if name not in names:
            return
        for caller in ast.walk(self._tree):
            for node in ast.walk(caller) if isinstance(caller, ast.FunctionDef) else ():
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function.name:
                    at = names.index(name)
                    for value in node.args[at : at + 1]:
                        yield value, caller
                    for keyword in node.keywords:
                        if keyword.arg == name:
                            yield keyword.value, caller

    def _assigned(self, name: str, function: ast.AST) -> Iterator[ast.AST]:
        for node in ast.walk(function):
            for target in node.targets if isinstance(node, ast.Assign) else ():
                if isinstance(target, ast.Name) and target.id == name:
                    yield node.value
                elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    for one, value in zip(target.elts, node.value.elts, strict=True):
                        if isinstance(one, ast.Name) and one.id == name:
                            yield value


@dataclass
class Heard:
    """What a call has named.

    Attributes:
        said: the remedy of its error, and of what that came from; or its warnings.
        met: module, line and text of each.
    """

    said: list[str]
    met: list[tuple[Path, int, str]]

    def met_at(self, site: Site) -> set[str]:
        """Which of its texts a place has said."""
        texts = [
            text for path, line, text in self.met if path == site.path and site.first <= line <= site.last
        ]
        return {known for known in site.texts for text in texts if re.fullmatch(known, text, re.DOTALL)}


def heard(call: Callable[[], Any]) -> Heard:
    """Make a call that fails, or warns, and tell the remedies that it named, and by which lines."""
    made: dict[int, tuple[CprError, Path, int]] = {}
    given: list[tuple[Path, int, str]] = []
    begin, change = CprError.__init__, CprError.__setattr__

    def begun(self: CprError, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        made[id(self)] = (self, *_line(sys._getframe(1)))

    def changed(self: CprError, name: str, value: Any) -> None:
        change(self, name, value)
        if name == "remedy" and sys._getframe(1).f_code.co_filename != cpr.errors.__file__:
            given.append((*_line(sys._getframe(1)), str(value)))

    told: list[tuple[Path, int, str]] = []

    def warned(message: Any, *_: Any, **__: Any) -> None:
        if isinstance(message, str):
            told.append((*_line(sys._getframe(1)), message))

    error: BaseException | None = None
    with (
        mock.patch.object(CprError, "__init__", begun),
        mock.patch.object(CprError, "__setattr__", changed),
        mock.patch.object(warnings, "warn", warned),
    ):
        try:
            call()
        except CprError as caught:
            error = caught
    if error is None:
        assert told, "it neither fails nor warns"
        return Heard([text for *_, text in told], told)
    chain: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        if (one := waiting.pop()) is not None and one not in chain:
            chain.append(one)
            waiting += [one.__cause__, one.__context__]
    met = [(path, line, str(one.remedy)) for one, path, line in made.values() if one in chain]
    assert error.remedy, f"no remedy: {error}"
    return Heard([error.remedy], met + given + told)


def _line(frame: FrameType | None) -> tuple[Path, int]:
    """The line of a format or target that something came from."""
    around = {str(TOP / name) for name in ("errors.py", "format.py", "data/user_warnings.py")}
    while frame is not None and frame.f_code.co_filename in around:
        frame = frame.f_back
    assert frame is not None
    return Path(frame.f_code.co_filename), frame.f_lineno
