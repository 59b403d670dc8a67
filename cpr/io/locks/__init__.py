"""Leases on a shared store, by compare-and-swap."""
