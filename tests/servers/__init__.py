"""Servers other than S3's for the tests and the demo: a GCS emulator, an SFTP server."""
