"""One module per kind of storage, each implementing the protocol Store."""
