"""Memory of this host: the page cache of weights, and what is locked in it."""
