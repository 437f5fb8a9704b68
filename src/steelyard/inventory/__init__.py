"""Inventories, which say where to run: Ansible's, read by ansible-core, as plain frozen values."""
