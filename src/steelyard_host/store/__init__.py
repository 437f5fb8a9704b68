"""The model store of this host: versions, chunks, leases, garbage."""
