"""What data is, whatever the file format: arrays, tables, image metadata."""
