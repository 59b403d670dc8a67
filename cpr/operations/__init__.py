"""The work of the commands, without Prefect: list, show, explain, verify, copy, report, collect garbage."""
