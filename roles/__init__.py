"""What a host becomes: one folder per role. Each role's `settings.py` holds a model named `Settings`."""
