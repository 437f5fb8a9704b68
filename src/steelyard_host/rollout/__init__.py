"""Moves of a service to another version, on trial, and back."""
