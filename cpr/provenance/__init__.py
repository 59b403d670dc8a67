"""Provenance: how a result was made, and what differs between two results."""
