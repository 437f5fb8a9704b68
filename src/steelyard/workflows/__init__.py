"""Use cases on connected hosts: they tell events and return values; none of them prints."""
