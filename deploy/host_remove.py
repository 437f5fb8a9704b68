"""One host out of the site: the others are told first, then it stops, then it is cleared. `steelyard host remove` runs
it over gateways, Dify's host and the one that goes.
"""

from steelyard.modules.operations.barrier import barrier
from steelyard.roles.base import cleared
from steelyard.roles.dify import dify, withdrawn
from steelyard.roles.gateway import gateway, unannounced
from steelyard.roles.vllm import retired

withdrawn()
barrier(name="Every host is here")
unannounced()
barrier(name="Every host is here")
gateway()
barrier(name="Every host is here")
retired()
cleared()
dify()
