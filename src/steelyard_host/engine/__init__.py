"""An engine on this host: its service, control API, probes, metrics and logs."""
