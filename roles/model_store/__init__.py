from typing import TYPE_CHECKING

from steelyard.api.exports import exports_of

if TYPE_CHECKING:
    from .settings import Settings
    from .tasks import model_root, model_store, retired_models

__all__ = ["Settings", "model_root", "model_store", "retired_models"]
__getattr__ = exports_of(__name__, "settings", "tasks")
