"""The part of the controller that a role, fact, operation or connector may import; it may import nothing else of it."""
