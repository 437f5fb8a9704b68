"""Runs deploys: pyinfra through its API, with plans as values. Knows no role by name."""
