"""Makes an HTML report on runs in one file: pictures, tables, provenance; readable offline.

gather(url)          the results under a URL, with their previews, from the store alone
render(results)      the page
"""

from __future__ import annotations

from cpr.operations.report.gather import Result, gather
from cpr.operations.report.page import render

__all__ = ["Result", "gather", "render"]
