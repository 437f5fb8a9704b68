"""Deploy files of pyinfra, which say what to run. `site.py` is everything; the others do their part alone."""
