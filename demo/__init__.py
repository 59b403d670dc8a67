"""A flow on real microscopy images, into a bucket, twice: computed, then cached. Run `make demo`."""
