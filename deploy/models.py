"""Declared versions of models on the hosts that store them."""

from steelyard.roles.base import base
from steelyard.roles.model_store import model_store

base()
model_store()
