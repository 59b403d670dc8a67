"""Tests for user-defined formats: inherit `FormatTests`."""

from cpr.testing.files import ForwardFile, SeekableBytes
from cpr.testing.format_tests import FormatTests

__all__ = ["FormatTests", "ForwardFile", "SeekableBytes"]
