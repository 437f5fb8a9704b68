from typing import TYPE_CHECKING

from steelyard.api.exports import exports_of

if TYPE_CHECKING:
    from .settings import Settings
    from .tasks import base, cleared

__all__ = ["Settings", "base", "cleared"]
__getattr__ = exports_of(__name__, "settings", "tasks")
