from .settings import Settings
from .tasks import nvidia_driver

__all__ = ["Settings", "nvidia_driver"]
