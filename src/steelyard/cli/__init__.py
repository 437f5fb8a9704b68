"""The command line: each file parses, calls, shows and returns. Heavy imports live inside the commands."""

import gc

gc.set_threshold(100_000, 50, 50)  # before anything else is imported: imports make many objects and no garbage
