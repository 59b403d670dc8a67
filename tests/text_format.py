"""The smallest format there is, for tests of what all formats share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from cpr.errors import DecodeError
from cpr.io.hashing import hex16
from cpr.records.registry import register
from cpr.Source import Source
from cpr.Target import Target


@dataclass(frozen=True)
class Text:
    extensions: ClassVar[tuple[str, ...]] = (".txt",)
    encoding: str = "utf-8"

    def fingerprint(self, data: str) -> str:
        return hex16(data.encode())

    def encode(self, data: str, file: Any) -> None:
        file.write(data.encode(self.encoding))

    def decode(self, file: Any) -> str:
        try:
            return file.read().decode(self.encoding)
        except UnicodeError as error:
            raise DecodeError("not text", expected=self.encoding, actual=str(error), remedy="none") from error


@register
class TextTarget(Target):
    format_class = Text


@register
class TextSource(Source):
    format_class = Text
