"""Programs that `steelyard preflight` needs on hosts: the helper, and fio and iperf3 from the mirror."""

from steelyard.modules.operations.barrier import barrier
from steelyard.roles.base import base
from steelyard.roles.package_mirror import package_client, package_mirror
from steelyard.roles.preflight import preflight

base()
package_mirror()
barrier(name="Every host is here")
package_client()
preflight()
