"""Dify's console API: a client that logs in once, and the comparison of declared and registered models."""
