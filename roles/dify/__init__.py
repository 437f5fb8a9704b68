from .settings import Settings
from .tasks import connection, dify

__all__ = ["Settings", "connection", "dify"]
