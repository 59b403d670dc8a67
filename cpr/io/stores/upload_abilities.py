"""What an upload can do beyond taking bytes, where its store offers it: each is a protocol of one method."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["AnnouncedUpload", "ChecksummedUpload", "LendingUpload", "SendingUpload"]


@runtime_checkable
class AnnouncedUpload(Protocol):
    """An upload that does better where it is known how much is to come."""

    def announce(self, nbytes: int) -> None:
        """Expect about so many bytes, before the first is written; fewer or more may come all the same."""


@runtime_checkable
class LendingUpload(Protocol):
    """An upload that need not copy what stays in memory."""

    def lend(self, block: memoryview, lasting: memoryview) -> None:
        """As `write`, of bytes that `lasting` holds as well, until the upload has ended.

        If they change before they are sent, the store refuses them: they are not those of the block any more.
        """


@runtime_checkable
class SendingUpload(Protocol):
    """An upload that can have its last bytes under way while something else is done."""

    def send_rest(self) -> None:
        """Begin to send all that was written and is not sent yet; nothing may be written after that."""


@runtime_checkable
class ChecksummedUpload(Protocol):
    """An upload to a store that keeps a checksum of the whole object, and tells it later."""

    def store_checksum(self) -> str | None:
        """What the store will tell, as `ChecksumStore.store_checksum`; asked when all is written.

        None where it will tell nothing.
        """
