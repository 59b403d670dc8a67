"""An S3 server for the tests and the demo, from whatever this machine has (`server.py` is the way in)."""
