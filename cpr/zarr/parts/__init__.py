"""Arrays and images that many tasks write, a region each, and one assembles."""
