from .settings import Settings
from .tasks import model_root, model_store

__all__ = ["Settings", "model_root", "model_store"]
