"""Figures of work that goes on: how much is done, how fast, and how long it takes yet. Values, which nobody renders."""
