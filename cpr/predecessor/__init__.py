"""What flows written for custom-prefect-result, this library's predecessor, use: see docs/predecessor.md."""
