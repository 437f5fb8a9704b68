"""The cause why an engine did not start, or died: its journal, the rules, the verdict."""
