"""One subject per file."""
