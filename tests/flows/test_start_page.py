"""README's section Start, as somebody types it: a server, two workers, the flow twice, the commands."""

from __future__ import annotations

import pytest

from tests.flows.typed_pages import type_start


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("prefect")
def test_all_of_it_works(s3_server, s3_url, tmp_path):
    type_start(tmp_path, s3_url, s3_server.environment())
