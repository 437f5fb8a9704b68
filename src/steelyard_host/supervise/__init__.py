"""Supervision of engines on this host: status, watchdog, on-demand starts."""
