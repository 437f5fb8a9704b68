"""Use cases on models: push, share, export, query, measure."""
