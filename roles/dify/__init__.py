from .settings import Settings
from .tasks import dify

__all__ = ["Settings", "dify"]
