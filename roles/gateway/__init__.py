from .settings import Settings
from .tasks import gateway

__all__ = ["Settings", "gateway"]
