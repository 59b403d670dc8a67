"""Recognises changes that a task's own runs make to data its code uses: caches, counters, lazy objects.

A key made before a run and one made after it must be the same, so changes by the task's own runs do not
count; changes by anybody else do. They are distinguished by looking at the data when a run ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cpr.prefect.code_nodes import Node, label_of
from cpr.prefect.code_references import MAKERS, facts_of
from cpr.prefect.description_graph import Part, Unordered, digest
from cpr.prefect.own_code import is_own_class
from cpr.prefect.source_code import unwrapped

if TYPE_CHECKING:
    from cpr.prefect.canonical_form import Describer

__all__ = ["Content", "RunState", "filled_in", "leave_out_what_runs_made", "state_of_runs", "watched"]

Content = tuple[str, frozenset[str]]  # a digest, and labels of the code in it
_STATE = "_cpr_runs"  # an attribute of functions


class RunState:
    """The data that a task's runs modify, and how it counts in keys, by label.

    Attributes:
        look: describes the present data.
    """

    def __init__(self) -> None:
        self.look: Callable[[], Mapping[str, Content]] | None = None
        self._running: set[tuple[int, object]] = set()  # with the process, which may be forked in between
        self._first: dict[str, Content | None] = {}  # None of what was not there
        self._last: dict[str, Content] = {}

    def __reduce__(self) -> Any:
        return RunState, ()

    def counts_as(self, label: str, now: Content) -> Content | None:
        """The description under which data counts; None if it did not exist."""
        is_running = any(process == os.getpid() for process, _ in self._running)
        if label not in self._first or not (is_running or self._last.get(label) == now):
            self._first[label] = self._last[label] = now
        return self._first[label]

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Context manager around a run."""
        one = (os.getpid(), object())
        self._running.add(one)
        try:
            yield
        finally:
            # If it cannot be described what was left counts as new; the run itself is none the worse.
            with contextlib.suppress(Exception):
                for label, now in self.look().items() if self.look is not None else ():
                    self._first.setdefault(label)
                    self._last[label] = now
            self._running.discard(one)


def state_of_runs(function: Any) -> RunState | None:
    """The state of a task's function; None for objects that cannot have one."""
    with contextlib.suppress(AttributeError, TypeError):
        state: RunState = vars(unwrapped(function)).setdefault(_STATE, RunState())
        return state
    return None


def watched(function: Any) -> contextlib.AbstractContextManager[None]:
    """Context manager around a run of a task's function."""
    state = getattr(unwrapped(function), _STATE, None)
    return state.run() if isinstance(state, RunState) else contextlib.nullcontext()


def filled_in(describer: Describer) -> dict[str, Content]:
    """The data in a code description that the code itself may modify, judged by names."""
    functions = [one for one in describer.code.nodes if one.kind == "function"]
    changes = {one: facts_of(one.value.__code__).changed for one in functions}
    changed = frozenset().union(*changes.values())
    of_defaults = {
        f"{one.label}.{name}"
        for one in functions
        if not changes[one].isdisjoint(one.value.__code__.co_varnames)
        for name in ("__defaults__", "__kwdefaults__")
    }
    methods = {
        one.value.__qualname__.rpartition(".")[0] for one in functions if changes[one] and not _makes(one)
    }
    return {
        label: (digest(described, label_of), frozenset(one.label for one, _ in _code_in(described)))
        for label, (value, described, _) in describer.used.items()
        if label.rpartition(".")[2] in changed
        or label in of_defaults
        or hasattr(type(value), "__missing__")  # defaultdict: what is looked up is there afterwards
        or any(cls.__qualname__ in methods for cls in type(value).__mro__ if is_own_class(cls))
    }


def _makes(node: Node) -> bool:
    """Whether a function fills objects when they are created."""
    return node.value.__name__ in MAKERS


def leave_out_what_runs_made(
    describer: Describer, state: RunState, look: Callable[[], Mapping[str, Content]]
) -> None:
    """Describe data as it was before the task's own runs modified it.

    Args:
        describer: has described the task's function.
        state: of its runs.
        look: describes the data after a run.
    """
    filled = filled_in(describer)
    state.look = look
    for label, now in filled.items():
        first = state.counts_as(label, now)
        if first is None:
            name = label.rpartition(".")[2]
            for names in describer.code.named_in.get(label, ()):
                names.remove(name) if isinstance(names, list) else names.pop(name)
        else:
            code = [part for one, part in _code_in(describer.used[label][1]) if one.label in first[1]]
            describer.stands_for[label].description = ["filled", first[0], code]


def _code_in(description: Any) -> list[tuple[Node, Part]]:
    """The code that data holds, each piece once, in the order of labels."""
    found: dict[str, tuple[Node, Part]] = {}
    waiting, known = [description], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, Part) and one.code is not None:
            found[one.code.label] = (one.code, one)
        elif isinstance(one, Part) and one not in known:
            known.add(one)
            waiting.append(one.description)
        elif isinstance(one, Unordered):
            waiting += one.items
        elif isinstance(one, (list, tuple, dict)):
            waiting += one.values() if isinstance(one, dict) else one
    return [found[label] for label in sorted(found)]
