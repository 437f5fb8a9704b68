from .settings import Settings
from .tasks import registry_client, registry_mirror

__all__ = ["Settings", "registry_client", "registry_mirror"]
