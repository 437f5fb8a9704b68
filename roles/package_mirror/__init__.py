from .settings import Settings
from .tasks import package_client, package_mirror

__all__ = ["Settings", "package_client", "package_mirror"]
