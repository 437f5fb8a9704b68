from .settings import Settings
from .tasks import model_store

__all__ = ["Settings", "model_store"]
