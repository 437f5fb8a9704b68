"""Dify on this host: the stack, its database, backups, upgrades."""
