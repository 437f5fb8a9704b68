from .settings import Settings
from .tasks import nvidia_toolkit

__all__ = ["Settings", "nvidia_toolkit"]
