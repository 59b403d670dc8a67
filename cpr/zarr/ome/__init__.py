"""OME-Zarr: axes, pyramids, metadata."""
