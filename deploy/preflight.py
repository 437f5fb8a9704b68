"""What `steelyard preflight` needs on hosts: the helper, and fio and iperf3 from the mirror."""

from steelyard.modules.operations.meet import hosts_meet
from steelyard.roles.base import base
from steelyard.roles.package_mirror import package_client, package_mirror
from steelyard.roles.preflight import preflight

base()
package_mirror()
hosts_meet(name="Every host is here")
package_client()
preflight()
