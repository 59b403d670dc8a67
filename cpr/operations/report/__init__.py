"""One HTML file that shows what runs produced: pictures, tables, origins; readable without a network.

gather(url)          the results under a URL, with their previews, from the store alone
render(results)      the page
"""

from __future__ import annotations

from cpr.operations.report.gather import Result, gather
from cpr.operations.report.page import render

__all__ = ["Result", "gather", "render"]
