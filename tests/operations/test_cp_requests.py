"""What copying costs on a store where each request is a round trip."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import cpr
from cpr.operations.cp import copy_results
from cpr.provenance.provenance_record import Made
from tests.faults.conftest import proxy, running_proxy  # noqa: F401 - fixtures
from tests.stored_flow import prefect_record, put

_COUNT = 24


@pytest.mark.s3
@pytest.mark.parametrize("below", [True, False])
def test_at_most_four_requests_a_result(s3_url, proxy, below):  # noqa: F811
    source = f"{s3_url}/run"
    data = f"{source}/data" if below else f"{s3_url}/elsewhere"
    for number in range(_COUNT):
        target = cpr.NumpyTarget.from_path(f"{data}/{number}.npy")
        target.set_data(np.arange(number))
        target.set_made(Made(task="write", at=number))
        put(f"{source}/{number:032x}", prefect_record(target.serialize()))
    proxy.clear()
    done = copy_results(source, f"{s3_url}/copy")
    assert (done.targets, done.records, done.failed) == (_COUNT, _COUNT, [])
    kinds = Counter(proxy.kinds)
    # A few are of the whole: listings, marks of a collection.
    assert kinds.total() <= 4 * _COUNT + 12, kinds
    proxy.clear()
    assert copy_results(source, f"{s3_url}/copy").targets == _COUNT
    assert Counter(proxy.kinds).total() <= 5 * _COUNT + 12, Counter(proxy.kinds)
