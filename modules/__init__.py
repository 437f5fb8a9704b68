"""pyinfra facts, operations and connectors of our own, one subject per file."""
