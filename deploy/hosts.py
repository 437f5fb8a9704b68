"""Hosts ready for services: accounts, the helper, packages from the mirror, driver, Docker, toolkit, registries."""

from steelyard.modules.operations.barrier import barrier
from steelyard.roles.base import base
from steelyard.roles.docker import docker
from steelyard.roles.nvidia_driver import nvidia_driver
from steelyard.roles.nvidia_toolkit import nvidia_toolkit
from steelyard.roles.package_mirror import package_client, package_mirror
from steelyard.roles.registry_mirror import registry_client, registry_mirror

base()
package_mirror()
registry_mirror()
barrier(name="Every host is here")
package_client()
nvidia_driver()
nvidia_toolkit()
docker()
registry_client()
