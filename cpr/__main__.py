"""Runs the `cpr` command as `python -m cpr`."""

from __future__ import annotations

from cpr.cli import main

if __name__ == "__main__":
    main()
