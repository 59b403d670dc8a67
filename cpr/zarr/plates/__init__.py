"""Plates of OME-Zarr: wells in rows and columns, with images in each."""
