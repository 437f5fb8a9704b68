from .settings import Settings
from .tasks import docker

__all__ = ["Settings", "docker"]
