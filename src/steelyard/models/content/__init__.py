"""The content of a version: manifest, chunks, tensors, signature, and which files may be in it."""
