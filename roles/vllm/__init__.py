from .settings import Settings
from .tasks import vllm

__all__ = ["Settings", "vllm"]
