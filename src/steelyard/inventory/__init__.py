"""Where to run: Ansible's inventories, read by ansible-core, as plain frozen values."""

from .fleet import Fleet, FleetHost
from .limit import Limit

__all__ = ["Fleet", "FleetHost", "Limit"]
