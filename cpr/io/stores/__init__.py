"""One module per kind of storage, behind the protocol Store."""
