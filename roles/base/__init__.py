from .settings import Settings
from .tasks import base

__all__ = ["Settings", "base"]
