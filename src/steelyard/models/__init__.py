"""Weights: where they come from, what a version consists of, and how versions reach the hosts."""
