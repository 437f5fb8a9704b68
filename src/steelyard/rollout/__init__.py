"""Moves an alias from one version to another, host by host, while the old version keeps serving."""
