"""Finds out why results of a flow run were computed, in the flow's process, for its report.

The tasks may have run on other machines, whose logs contain the reasons too. The provenance of their results
is compared with the journal of earlier ones (`cpr.provenance.inputs_journal`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from cpr.prefect.miss_log import drain, folder_of_storage
from cpr.prefect.run_log import log
from cpr.provenance.inputs_journal import Entries, read_tasks
from cpr.provenance.provenance_record import Made
from cpr.provenance.why_not_reused import NearestResults, differences, render_kinds

__all__ = ["NO_EARLIER_RESULT", "reasons"]

NO_EARLIER_RESULT = "no earlier result"


def reasons(computed: Sequence[Made], storage: Any) -> list[tuple[str, str]]:
    """The task and the reason for each result that a flow run has computed, as far as known.

    Reasons contain no file names, so that equal ones of many results of a task can be counted.

    Args:
        computed: the full provenance of the results.
        storage: the block in which Prefect keeps the records of the run.
    """
    try:
        place = folder_of_storage(storage) if computed else None
        if place is None:
            return []
        drain()  # with what this process has to write the lines of its code are known
        journals = read_tasks(place, {made.task for made in computed if made.task is not None})
    except Exception as error:
        # Of a storage block anything may come; a report goes without.
        log(logging.DEBUG, "Why results were computed is not known: %s", type(error).__name__)
        return []
    runs = {made.flow_run for made in computed}
    known = {
        task: (found, _earlier(found, runs))
        for task, several in journals.items()
        # Two functions may have made tasks of one name, of which nobody knows whose results these are.
        for found in several
        if len(several) == 1
    }
    return [(made.task, _reason(made, *known[made.task])) for made in computed if made.task in known]


def _earlier(journal: Entries, runs: set[str | None]) -> NearestResults:
    """Journal entries of other runs."""
    found = NearestResults()
    for made in journal.made:
        if made.flow_run is None or made.flow_run not in runs:
            found.add(journal.whole(made))
    return found


def _reason(made: Made, journal: Entries, earlier: NearestResults) -> str:
    whole = journal.whole(made)
    nearest = earlier.nearest(whole)
    if nearest is None:
        return NO_EARLIER_RESULT
    return render_kinds(differences(nearest, whole, journal.lines, journal.first))
