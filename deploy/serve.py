"""Services on GPU hosts and the gateway before them; models must be stored already."""

from steelyard.modules.operations.barrier import barrier
from steelyard.roles.base import base
from steelyard.roles.gateway import gateway, keys_of_before, unannounced
from steelyard.roles.vllm import retired, vllm

base()
unannounced()
barrier(name="Every host is here")
vllm()
barrier(name="Every host is here")
gateway()
barrier(name="Every host is here")
retired()
keys_of_before()
