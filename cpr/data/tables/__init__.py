"""Tables as streams of pieces that are hashed on the way, and the description that restores them.

A file format keeps the values of a table; what it loses (dtypes, index, labels that are not text) is
kept in the record, as a `Layout`. In between, every column is `Values`: one plain numpy array and a
mask of what is missing, the same for all formats. A format of tables turns `Values` into its cells and
back; it never meets pandas' many column types. `TableFormat` does the rest.

The content hash of a table covers labels, dtypes, index and values. It does not depend on how the table
is cut into chunks, nor on how pandas lays it out in memory.
"""

from __future__ import annotations

from cpr.data.tables.columns import ColumnType
from cpr.data.tables.frames import Frames, frames_of, hash_frame, layout_of, own_copy
from cpr.data.tables.layout import Layout
from cpr.data.tables.table_digest import Piece
from cpr.data.tables.table_format import TableFormat
from cpr.data.tables.values import Values

__all__ = [
    "ColumnType",
    "Frames",
    "Layout",
    "Piece",
    "TableFormat",
    "Values",
    "frames_of",
    "hash_frame",
    "layout_of",
    "own_copy",
]
