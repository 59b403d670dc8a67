"""Support for flows written for custom-prefect-result, cpr's predecessor: see docs/predecessor.md."""
