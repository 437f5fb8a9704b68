from .settings import Settings
from .tasks import preflight

__all__ = ["Settings", "preflight"]
