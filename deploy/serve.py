"""Services on GPU hosts and the gateway before them; models must be stored already."""

from steelyard.modules.operations.meet import hosts_meet
from steelyard.roles.base import base
from steelyard.roles.gateway import gateway
from steelyard.roles.vllm import vllm

base()
vllm()
hosts_meet(name="Every host is here")
gateway()
