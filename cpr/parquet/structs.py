"""Definitions of the Thrift structs in Parquet footers and page headers, with their field numbers.

Every list that pyarrow knows is here: it takes the items for what they should be, whatever the list says.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from cpr.parquet.thrift import BINARY, BOOL, I16, I32, I64, Items, Struct

__all__ = ["FOOTER", "PAGE_HEADER"]

_ANY = Struct()
_STATISTICS = Struct(others={1: BINARY, 2: BINARY, 3: I64, 4: I64, 5: BINARY, 6: BINARY, 7: BOOL, 8: BOOL})

_DATA_PAGE = Struct({1: I32, 2: I32, 3: I32, 4: I32}, {5: _STATISTICS})
_DICTIONARY_PAGE = Struct({1: I32, 2: I32}, {3: BOOL})
_DATA_PAGE_2 = Struct({1: I32, 2: I32, 3: I32, 4: I32, 5: I32, 6: I32, 7: BOOL}, {8: _STATISTICS})

PAGE_HEADER = Struct(
    {1: I32, 2: I32, 3: I32, 5: _DATA_PAGE, 7: _DICTIONARY_PAGE, 8: _DATA_PAGE_2}, {4: I32, 6: _ANY}
)
"""`PageHeader`: 1 is the type, 2 the size when unpacked, 3 the size in the file, 5, 7 and 8 what is in it."""

_SCHEMA_ELEMENT = Struct(
    {1: I32, 2: I32, 3: I32, 5: I32}, {4: BINARY, 6: I32, 7: I32, 8: I32, 9: I32, 10: _ANY}
)
_KEY_VALUE = Struct(others={1: BINARY, 2: BINARY})
_COLUMN_METADATA = Struct(
    {1: I32, 4: I32, 5: I64, 7: I64, 9: I64, 11: I64},
    {
        2: Items(I32),
        3: Items(BINARY),
        6: I64,
        8: Items(_KEY_VALUE),
        10: I64,
        12: _STATISTICS,
        13: Items(Struct(others={1: I32, 2: I32, 3: I32})),
        14: I64,
        15: I32,
        16: Struct(others={1: I64, 2: Items(I64), 3: Items(I64)}),
        17: Struct(others={1: _ANY, 2: Items(I32)}),
    },
)
_CRYPTO = Struct(others={1: _ANY, 2: Struct(others={1: Items(BINARY), 2: BINARY})})
_COLUMN = Struct(
    {3: _COLUMN_METADATA}, {1: BINARY, 2: I64, 4: I64, 5: I32, 6: I64, 7: I32, 8: _CRYPTO, 9: BINARY}
)
_ROW_GROUP = Struct(
    {1: Items(_COLUMN), 3: I64},
    {2: I64, 4: Items(Struct(others={1: I32, 2: BOOL, 3: BOOL})), 5: I64, 6: I64, 7: I16},
)

FOOTER = Struct(
    {2: Items(_SCHEMA_ELEMENT), 3: I64, 4: Items(_ROW_GROUP)},
    {1: I32, 5: Items(_KEY_VALUE), 6: BINARY, 7: Items(_ANY), 8: _ANY, 9: BINARY},
)
"""`FileMetaData`: 2 is the schema, 3 how many rows there are, 4 the groups of them."""
