"""The tests; a package, so that test modules share names and import the servers of `tests.minio`."""
