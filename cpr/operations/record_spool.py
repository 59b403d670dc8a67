"""A temporary file of records, for iterating several times while reading the store once."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime

from cpr.operations.records import Record, parse_record

__all__ = ["RecordSpool"]


class RecordSpool:
    """Records in a temporary file, in order, so that they take no memory.

    Args:
        records: all of them are read now.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._file = tempfile.TemporaryFile(prefix="cpr-records-")  # noqa: SIM115 - closed with the spool
        # What could not be read, or is not to be, cannot be parsed anew.
        self._unread: dict[int, Record] = {}
        self._count = 0
        for record in records:
            if record.problem is not None and not record.blob:
                self._unread[self._count] = record
            head = [record.url, record.modified.isoformat(), record.nbytes, len(record.blob)]
            self._file.write(json.dumps(head).encode() + b"\n")
            self._file.write(record.blob)
            self._count += 1

    def __iter__(self) -> Iterator[Record]:
        """All records; one iteration at a time."""
        self._file.seek(0)
        for number in range(self._count):
            url, modified, nbytes, length = json.loads(self._file.readline())
            blob = self._file.read(length)
            known = self._unread.get(number)
            found = known or parse_record(url, datetime.fromisoformat(modified), nbytes, blob)
            assert found is not None  # it was a record when it was read
            yield found

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
