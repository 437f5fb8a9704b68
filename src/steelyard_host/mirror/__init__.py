"""Images and wheels that a mirror host serves."""
