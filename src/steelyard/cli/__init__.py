"""The command line: each file parses, calls, shows and returns. Heavy imports live inside the commands."""
