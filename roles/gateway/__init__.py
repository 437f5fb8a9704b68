from typing import TYPE_CHECKING

from steelyard.api.exports import exports_of

if TYPE_CHECKING:
    from .key_grace import keys_of_before
    from .settings import Settings
    from .tasks import gateway, unannounced

__all__ = ["Settings", "gateway", "keys_of_before", "unannounced"]
__getattr__ = exports_of(__name__, "settings", "key_grace", "tasks")
