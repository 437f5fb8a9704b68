"""The rollout of an alias on connected hosts."""
