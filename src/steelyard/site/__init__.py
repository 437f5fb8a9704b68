"""All that is declared, resolved: models, services, aliases, and who serves what where."""
