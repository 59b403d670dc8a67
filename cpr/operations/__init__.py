"""What the commands do, without Prefect: list, show, explain, verify, copy, report, collect garbage."""
