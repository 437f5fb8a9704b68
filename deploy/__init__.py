"""What to run: pyinfra deploy files. `site.py` is everything; the others do their part alone."""
