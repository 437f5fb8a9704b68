"""The whole site, in order: hosts, models, services, gateway, Dify. A role does nothing on hosts it does not
concern.
"""

from steelyard.modules.operations.barrier import barrier
from steelyard.roles.base import base
from steelyard.roles.dify import dify, withdrawn
from steelyard.roles.docker import docker
from steelyard.roles.gateway import gateway, keys_of_before, unannounced
from steelyard.roles.model_store import model_store, retired_models
from steelyard.roles.nvidia_driver import nvidia_driver
from steelyard.roles.nvidia_toolkit import nvidia_toolkit
from steelyard.roles.package_mirror import package_client, package_mirror
from steelyard.roles.registry_mirror import registry_client, registry_mirror
from steelyard.roles.vllm import retired, vllm

base()
package_mirror()
registry_mirror()
barrier(name="Every host is here")
package_client()
nvidia_driver()
nvidia_toolkit()
docker()
registry_client()
model_store()
withdrawn()
barrier(name="Every host is here")
unannounced()
barrier(name="Every host is here")
vllm()
barrier(name="Every host is here")
gateway()
barrier(name="Every host is here")
retired()
retired_models()
keys_of_before()
dify()
