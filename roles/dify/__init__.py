from .images import image_names
from .registration import connection, dify_settings
from .settings import Settings
from .tasks import dify, staged

__all__ = ["Settings", "connection", "dify", "dify_settings", "image_names", "staged"]
