"""Files that cpr writes, opened by other programs: `make test-foreign`, apart from the other tests."""
