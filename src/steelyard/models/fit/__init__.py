"""The fit of a version into GPU memory: footprint, KV cache, suggestions."""
