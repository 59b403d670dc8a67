"""Optional abilities of an upload, each a protocol of one method."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["AnnouncedUpload", "ChecksummedUpload", "LendingUpload", "SendingUpload"]


@runtime_checkable
class AnnouncedUpload(Protocol):
    """An upload that benefits from knowing the size beforehand."""

    def announce(self, nbytes: int) -> None:
        """Announce about how many bytes follow, before the first write; the real number may differ."""


@runtime_checkable
class LendingUpload(Protocol):
    """An upload that need not copy bytes which stay in memory."""

    def lend(self, block: memoryview, lasting: memoryview) -> None:
        """As `write`, for bytes that `lasting` also holds until the upload has ended.

        If they change before they are sent, the store refuses them: they are not those of the block any more.
        """


@runtime_checkable
class SendingUpload(Protocol):
    """An upload that can send its last bytes in the background."""

    def send_rest(self) -> None:
        """Start to send everything not sent yet; nothing can be written afterwards."""


@runtime_checkable
class ChecksummedUpload(Protocol):
    """An upload to a store that keeps a checksum of the whole object."""

    def store_checksum(self) -> str | None:
        """The checksum that the store will report (see `ChecksumStore`); call when all is written.

        None where it will tell nothing.
        """
