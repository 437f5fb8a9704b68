"""Failures that the helper tells in one sentence on stderr, with exit 1."""

from __future__ import annotations


class HelperError(Exception):
    """Base of every failure of the helper that we foresaw; its text is the whole sentence for the reader."""
