"""Targets for files of the predecessor, which have no checksum and are verified by their `data_hash`."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any, ClassVar

from cpr import io
from cpr.errors import RecordError
from cpr.io.url_policy import require_safe
from cpr.predecessor.arguments import Arguments

__all__ = ["KnownByContent", "in_scratch"]

in_scratch: ContextVar[bool] = ContextVar("in_scratch", default=False)
"""Whether a target is made for a scratch folder of ours, which no record has named."""


class KnownByContent:
    """A target that may refer to a predecessor's file: `name-<data_hash>.ext`, without a checksum."""

    known_by_content: ClassVar[bool] = True

    location: str
    name: str
    ext: str
    data_hash: str | None
    checksum: str | None
    _key: str | None
    _data: Any

    def _take_arguments(self, found: Arguments) -> None:
        super()._take_arguments(found)  # type: ignore[misc] # of Resource
        try:
            if not (found.is_safe or in_scratch.get()):
                require_safe(self.location, self.name)
        except RecordError as error:
            error.url = io.join(self.location, self.name + self.ext)
            error.remedy = "choose another name or place"
            raise
        self._lock = threading.RLock()
        self.data_hash = self._key = found.data_hash

    def _is_known_by_content(self) -> bool:
        """Whether it refers to such a file; data in memory (maybe None) has no file yet."""
        return self.checksum is None and self._key is not None

    def set_data(self, data: Any) -> None:
        """Fill the target."""
        raise NotImplementedError

    def compute_data_hash(self) -> None:
        """Hash the data again, after it was changed in place since `set_data`."""
        if self._data is not None:
            self.set_data(self._data)
