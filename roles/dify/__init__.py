from typing import TYPE_CHECKING

from steelyard.api.exports import exports_of

if TYPE_CHECKING:
    from .embedding import refuse_new_vectors
    from .images import image_names
    from .registration import connection, dify_settings
    from .settings import Settings
    from .tasks import dify, staged, withdrawn

__all__ = [
    "Settings",
    "connection",
    "dify",
    "dify_settings",
    "image_names",
    "refuse_new_vectors",
    "staged",
    "withdrawn",
]
__getattr__ = exports_of(__name__, "settings", "images", "registration", "embedding", "tasks")
