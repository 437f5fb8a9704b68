"""Shows what work did: a terminal, plain lines, or JSON. Chosen once per call."""
