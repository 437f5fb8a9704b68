"""Hosts ready to receive versions: accounts, the helper, the hash library, the model root; `steelyard models push` does
the rest.
"""

from steelyard.roles.base import base
from steelyard.roles.model_store import model_root

base()
model_root()
