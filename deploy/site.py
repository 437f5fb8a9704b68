"""Everything, in order: hosts, models, services, gateway, Dify. A role does nothing on hosts it does not concern."""

from steelyard.modules.operations.meet import hosts_meet
from steelyard.roles.base import base
from steelyard.roles.dify import dify
from steelyard.roles.docker import docker
from steelyard.roles.gateway import gateway
from steelyard.roles.model_store import model_store
from steelyard.roles.nvidia_driver import nvidia_driver
from steelyard.roles.nvidia_toolkit import nvidia_toolkit
from steelyard.roles.package_mirror import package_client, package_mirror
from steelyard.roles.registry_mirror import registry_client, registry_mirror
from steelyard.roles.vllm import vllm

base()
package_mirror()
registry_mirror()
hosts_meet(name="Every host is here")
package_client()
nvidia_driver()
nvidia_toolkit()
docker()
registry_client()
model_store()
vllm()
hosts_meet(name="Every host is here")
gateway()
hosts_meet(name="Every host is here")
dify()
