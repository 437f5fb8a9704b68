"""Roles, which say what a host becomes: one folder each. Each role's `settings.py` holds a model named `Settings`."""
