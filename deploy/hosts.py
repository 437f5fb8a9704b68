"""Hosts ready for services: accounts, folders, the helper, and packages from the mirror."""

from steelyard.modules.operations.meet import hosts_meet
from steelyard.roles.base import base
from steelyard.roles.package_mirror import package_client, package_mirror

base()
package_mirror()
hosts_meet(name="Every host is here")
package_client()
