from .registration import connection
from .settings import Settings
from .tasks import dify

__all__ = ["Settings", "connection", "dify"]
