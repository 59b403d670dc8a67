"""Describes what a run's key is made of: the arguments, and the code that the task uses."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cpr.io.fork_safe import in_children
from cpr.prefect.canonical_form import Describer
from cpr.prefect.code_graph import CodeGraph
from cpr.prefect.code_nodes import label_of, number_of
from cpr.prefect.description_graph import digest
from cpr.prefect.loaded_modules import is_as_its_file_made_it
from cpr.prefect.prefect_internals import source_of
from cpr.prefect.redaction import describe_input, program_texts
from cpr.prefect.source_code import unwrapped
from cpr.prefect.state_changed_by_runs import Content, filled_in, leave_out_what_runs_made, state_of_runs
from cpr.provenance.provenance_record import Input
from cpr.Target import Target

__all__ = ["RunDescription", "Used", "uses_of"]

_KEPT = "_cpr_used"  # an attribute of tasks, so that what is kept goes with them
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_lock = threading.RLock()  # tasks that are mapped ask for the same at the same time


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - a thread that is not here may hold it
    _lock = threading.RLock()


in_children(_after_fork)


class RunDescription:
    """Describes a run for its key, and keeps what provenance may show of it.

    Attributes:
        inputs: the arguments, by name.
        uses: functions, classes and data of the code that was met, by label.
        code: of the functions among them, by digest.
        given: URLs of the targets that were met.
        opaque: places of what counts by its type alone.
        unseen: places where code is brought in by a name that is not written there.
    """

    def __init__(self, task: Any, exclude: Collection[str], asked: frozenset[str] = frozenset()) -> None:
        self.function = unwrapped(task.fn)
        self._texts = program_texts(self.function, source_of(task))
        self._exclude = exclude
        self._asked = asked
        self._home = getattr(self.function, "__globals__", {}).get("__name__")
        self.inputs: dict[str, Input] = {}
        self.uses: dict[str, Input] = {}
        self.code: dict[str, Any] = {}
        self.given: set[str] = set()
        self.opaque: list[str] = []
        self.unseen: list[str] = []

    def describe(self, name: str, value: Any, versions: bool) -> Any:
        """Describe an argument, with the user's code in it. Raises as `Describer.describe`."""
        describer = Describer(versions, self._graph(asked=self._asked))
        described = describer.describe_with_code(value, name)
        self.inputs[name] = self._tell(name, value, described, describer)
        self.tell_code(describer)
        return described

    def _graph(self, **options: Any) -> CodeGraph:
        return CodeGraph(
            is_unchanged=is_as_its_file_made_it, home=self._home, exclude=self._exclude, **options
        )

    def describer_of_function(self, versions: bool) -> Describer:
        """A describer for the task's function, whose own code does not count here."""
        code = getattr(self.function, "__code__", None)
        graph = self._graph(without_code=self.function)
        strict = frozenset(code.co_freevars if code is not None else ())
        return Describer(versions, graph, lenient=True, strict=strict)

    def tell_code(self, describer: Describer) -> None:
        """Keep what provenance may show of the code found."""
        self.opaque += [*describer.opaque, *describer.code.opaque]
        self.unseen += describer.code.unseen
        for label, (value, described, one) in describer.used.items():
            self.opaque += one.opaque
            counted = describer.stands_for.get(label, described)
            self.uses.setdefault(label, self._tell(label, value, counted, one))
        for node in describer.code.nodes:
            if node.value is not self.function:
                told = Input(node.kind, digest=digest(node.own, label_of)[:16])
                self.uses.setdefault(node.label, told)
                if node.kind == "function" and told.digest is not None:
                    self.code[told.digest] = node.value.__code__

    def _tell(self, name: str, value: Any, described: Any, describer: Describer) -> Input:
        """Keep what provenance may show of a value; if inspecting it fails, only its digest."""
        content = None if describer.secret else digest(described, label_of)[:16]
        found = [(one, digest(what, label_of)[:16]) for one, what in describer.resources]
        self.given.update(one.url for one, _ in found if isinstance(one, Target))
        try:
            return describe_input(name, value, content, found, self._texts)
        except Exception:
            return Input("object", digest=content)


@dataclass(frozen=True)
class Used:
    """What a task's function uses.

    Attributes:
        digest: of everything it uses.
        uses: what provenance may show of it, by label.
        code: of the functions in it, by digest.
        given: URLs of targets in it.
        opaque: places of what counts by its type alone.
        unseen: places where code is brought in by a name that is not written there.
        asked: names by which it asks what code is called, say (see `ASKED`).
    """

    digest: str
    uses: Mapping[str, Input]
    code: Mapping[str, Any]
    given: frozenset[str]
    opaque: tuple[str, ...]
    unseen: tuple[str, ...]
    asked: frozenset[str]


def _is_fixed(value: Any) -> bool:
    """Whether a value is deeply immutable."""
    if type(value) in (tuple, frozenset):
        return all(map(_is_fixed, value))
    return type(value) in _PLAIN


class _Kept:
    """A cached result, valid until code or data change; only in this process."""

    def __init__(
        self, asked: Any = None, used: Used | None = None, describer: Describer | None = None
    ) -> None:
        self.asked = asked
        self.used = used
        self.describer = describer
        known = describer.used.items() if describer is not None else ()
        self._data = {
            label: (value, digest(described, number_of), one)
            for label, (value, described, one) in known
            if not _is_fixed(value)
        }

    def __reduce__(self) -> Any:
        return _Kept, ()

    def holds(self, asked: Any) -> bool:
        """Whether code and data are unchanged."""
        if self.describer is None or self.asked != asked or not self.describer.code.holds():
            return False
        return all(
            digest(one.again(value, label), number_of) == described
            for label, (value, described, one) in self._data.items()
        )


def uses_of(task: Any, exclude: Collection[str], versions: bool) -> Used:
    """What a task's function uses besides its arguments and its own code. Raises as `Describer.describe`."""
    asked = (task.fn, tuple(exclude), versions)
    with _lock:
        kept = getattr(task, _KEPT, None)
        if isinstance(kept, _Kept) and kept.used is not None and kept.holds(asked):
            return kept.used
        state = state_of_runs(task.fn)
        told = RunDescription(task, exclude)
        describer = told.describer_of_function(versions)
        described = describer.describe_with_code(task.fn, "the task's function")
        if state is not None:
            leave_out_what_runs_made(describer, state, lambda: _after_a_run(task, exclude, versions))
        told.tell_code(describer)
        used = Used(
            digest(described),
            told.uses,
            told.code,
            frozenset(told.given),
            tuple(told.opaque),
            tuple(told.unseen),
            describer.code.asked,
        )
        describer.code.guards.close()
        task.__dict__[_KEPT] = _Kept(asked, used, describer)
    return used


def _after_a_run(task: Any, exclude: Collection[str], versions: bool) -> dict[str, Content]:
    """Describe the data that the task's code may have changed; empty if it is unchanged."""
    with _lock:
        kept = getattr(task, _KEPT, None)
        if isinstance(kept, _Kept) and kept.holds((task.fn, tuple(exclude), versions)):
            return {}
        describer = RunDescription(task, exclude).describer_of_function(versions)
        describer.describe_with_code(task.fn, "the task's function")
        return filled_in(describer)
