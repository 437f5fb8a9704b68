"""The way of versions to hosts: the push, its chain, its key, what a host has already."""
