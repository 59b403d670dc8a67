"""Scripts for those who work on cpr; nothing here is installed."""
