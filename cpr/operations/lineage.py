"""Traces the lineage of results from their records alone; no server is asked.

A record says which resources its task was given. So the records under a URL form a graph, from sources to
results; it lacks resources whose records are elsewhere, or were written before records contained this.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cpr import io
from cpr.errors import CprError
from cpr.operations.find import Result, Results, called, find_results, latest
from cpr.operations.resolve_references import Namesakes, last_of
from cpr.provenance.provenance_record import Input, Made
from cpr.provenance.storage import read_whole

__all__ = ["Lineage", "Node", "generations", "inputs_of", "trace"]

_MOST_GENERATIONS = 16  # that are looked for one by one
_MOST_READ = 100_000  # results, rather than to look for more of them


@dataclass(frozen=True)
class Node:
    """A source or target in the lineage graph.

    Attributes:
        url: where it is.
        type: its record type.
        made: how it came to be; None for a source, and where no record here tells.
        record: URL of a record that names it; None where there is none here.
        inputs: by name of the argument, the URLs of the resources that its task was given.
        settings: by name of the argument, what else is kept of it.
        problem: why not all is known of how it was made.
    """

    url: str
    type: str
    made: Made | None = None
    record: str | None = None
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    problem: CprError | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """The resources that it was made from, each once, in the order of the arguments."""
        return tuple(dict.fromkeys(url for urls in self.inputs.values() for url in urls))


@dataclass
class Lineage:
    """The lineage graph: nodes are sources and targets, edges say what was made from what.

    Attributes:
        roots: URLs of what was asked for; of all that nothing else was made from, if nothing was.
        nodes: by URL, what is known of these and of all they were made from.
        problems: the errors of records that cannot be read.
    """

    roots: list[str] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    problems: list[CprError] = field(default_factory=list)


def trace(
    url: str, result: str | None = None, on_progress: Callable[..., None] = lambda **_: None
) -> Lineage:
    """Trace what results under a URL were made from.

    Args:
        url: a results URL.
        result: URL, file name, or the begin of a file name of the results that are of interest; all that
            nothing else was made from, if it is None.
        on_progress: called for each record that is read, with their `total`.

    Raises:
        ResourceNotFoundError: no record here names such a result, or the bucket does not exist.
        TransferError: the store refused or failed.

    >>> trace("memory://no-such-folder").nodes
    {}
    """
    results = find_results(url, on_progress)
    lineage = Lineage(problems=results.problems)
    graph = _Graph()
    if result is None:
        known = latest(results.all())
        graph.add(known)
        used = {parent for url in known for parent in graph.node(url).parents}
        lineage.roots = [url for url in known if url not in used]
    else:
        known = latest(called(results, result, url))
        lineage.roots = list(known)
        for generation in generations(known, results):
            graph.add(generation)
    waiting = list(lineage.roots)
    while waiting:
        one = waiting.pop()
        if one not in lineage.nodes:
            lineage.nodes[one] = graph.node(one)
            waiting += lineage.nodes[one].parents
    return lineage


def generations(known: Mapping[str, Result], results: Results) -> Iterator[dict[str, Result]]:
    """Results, their inputs, the inputs of those, and so on: by URL, a generation at a time.

    The last may be all results there are, where many generations are small ones.
    """
    looked_for: set[str] = set()
    names = {io.split(url)[1] for url in known}
    for depth in itertools.count():
        looked_for |= names
        if depth == _MOST_GENERATIONS and results.count <= _MOST_READ:
            yield latest(results.all())
            return
        found = latest(results.named(names))
        yield found
        names = {name for result in found.values() for name in _names_of_inputs(result)} - looked_for
        if not names:
            return


def _names_of_inputs(result: Result) -> list[str]:
    return [last_of(one.url) for one in inputs_of(result) if one.url is not None]


class _Graph:
    def __init__(self) -> None:
        self._results = Namesakes()
        self._nodes: dict[str, Node] = {}

    def add(self, known: Mapping[str, Result]) -> None:
        """Add results; those with the same name together."""
        self._results.add(known)

    def node(self, url: str, type: str = "?") -> Node:
        if url not in self._nodes:
            self._nodes[url] = self._make(url) if url in self._results.known else Node(url, type)
        return self._nodes[url]

    def _make(self, url: str) -> Node:
        result = self._results.known[url]
        made = result.reference.made
        node = Node(url, result.reference.type, made, result.record)
        if made is None:
            return node
        try:
            made = read_whole(made, url)
        except CprError as error:
            node = replace(node, problem=error)
        inputs: dict[str, tuple[str, ...]] = {}
        settings: dict[str, Any] = {}
        for name, one in made.inputs.items():
            places = tuple(self._placed(held) for held in one.resources)
            if places:
                inputs[name] = places
            else:
                settings[name] = one.to_json()
        return replace(node, made=made, inputs=inputs, settings=settings)

    def _placed(self, one: Input) -> str:
        assert one.url is not None
        if (url := self._results.find(one)) is not None:
            return url
        self._nodes.setdefault(one.url, Node(one.url, one.type))
        return one.url


def inputs_of(result: Result) -> Iterator[Input]:
    """The resources that a result was made from, as far as its record says."""
    try:
        made = result.reference.made
        made = None if made is None else read_whole(made, result.url)
    except CprError:
        made = result.reference.made  # told when its node is made
    for one in made.inputs.values() if made is not None else ():
        yield from one.resources
