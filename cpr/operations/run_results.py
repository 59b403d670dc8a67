"""The results of a run: those it made, and those it found in the cache, as far as records say.

Results of earlier runs that a run found in the cache belong to it as well, as far as records say.
"""

from __future__ import annotations

from cpr.errors import ResourceNotFoundError
from cpr.operations.find import Result, Results, latest
from cpr.operations.lineage import generations, inputs_of
from cpr.operations.resolve_references import Namesakes
from cpr.operations.result import in_order
from cpr.operations.result_filter import ResultFilter

__all__ = ["results_of_run"]


def results_of_run(results: Results, run: str, url: str) -> tuple[str, list[Result]]:
    """The full id of a run, and its results in the order in which they were made.

    Args:
        results: all there are.
        run: id of a flow run, or how that begins.
        url: where the results were looked for, for the error.

    Raises ResourceNotFoundError if no record mentions such a run, or the beginning of the id is ambiguous.
    """
    choice = ResultFilter(flow_run=run)
    own = [one for one in results.beside(choice) if choice.takes(one)] if choice.run_digits else []
    ids = {one.reference.made.flow_run for one in own if one.reference.made is not None}
    if len(ids) != 1:
        raise ResourceNotFoundError(
            "several runs begin so" if ids else "no record here tells of such a run",
            url=url,
            expected=f"one flow run {run}",
            actual=", ".join(sorted(map(str, ids))[:5]) or f"{results.count} results of others",
            remedy="cpr ls --runs lists the runs; a run that found all in the cache has made nothing",
        )
    made = latest(in_order(own))
    known: dict[str, Result] = {}
    for generation in generations(made, results):
        known.update(generation)
    named = Namesakes(known)
    chosen, waiting = dict(made), list(made.values())
    while waiting:
        for given in inputs_of(waiting.pop()):
            parent = named.find(given)
            if parent is not None and parent not in chosen:
                chosen[parent] = known[parent]
                waiting.append(known[parent])
    return str(ids.pop()), in_order(chosen.values())
