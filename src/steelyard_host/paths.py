"""Every path that helper, controller and roles have in common, each written once. Plain strings: both sides import it.

Templates and the lines of units name the same paths in full. Functions take the name of a service; in a unit's own
lines that may be `%i`.
"""

from __future__ import annotations

# Programs
LIBRARIES = "/usr/lib/steelyard"
HELPER = LIBRARIES + "/steelyard-host.pyz"
HELPER_ARGV = ("/usr/bin/python3", "-I", HELPER)
HASH_LIBRARY = LIBRARIES + "/blake3.so"
LOAD_PROBE = LIBRARIES + "/load_probe.py"
ENGINES = "/opt/steelyard/engines"  # a folder KIND-VERSION for each environment

# What is declared
CONFIGURATION = "/etc/steelyard"
SERVICES = CONFIGURATION + "/services"
KEYS = CONFIGURATION + "/keys"
PROXY_UNIT = "steelyard-front.service"
PROXY_CONFIG = CONFIGURATION + "/front.cfg"
PROXY_VERSIONS = CONFIGURATION + "/front-versions.map"
PROXY_KEY = CONFIGURATION + "/front-key.map"  # the declared key, as a hash
PROXY_KEYS_BEFORE = CONFIGURATION + "/front-keys-before.map"  # those of before that it still accepts
DIFY_CONFIG = CONFIGURATION + "/dify.json"
DIFY_ENV = CONFIGURATION + "/dify.env"
REGISTRIES = CONFIGURATION + "/registries"

# What outlives a boot
STATE = "/var/lib/steelyard"
START_RECORDS = STATE + "/starts"
KILL_RECORDS = STATE + "/watch"
TRIAL_RECORDS = STATE + "/switches"
LOAD_FACTS = STATE + "/load.json"
HOSTS = STATE + "/hosts.json"  # that were applied as parts of the site; on the host that holds the lock
DIFY_STATE = STATE + "/dify"
DIFY_MARKS = DIFY_STATE + "/marks.json"
CACHES = "/var/cache/steelyard"  # a folder for each service, the engine's own
AUDIT_LOG = "/var/log/steelyard/audit.log"

# What a boot clears
RUN = "/run/steelyard"
HELD = RUN + "/held"
WARMING = RUN + "/warming"
PROXY_SOCKET = "/run/steelyard-front/admin.sock"
PROXY_HERE = "/run/steelyard-front/here.sock"  # the proxy answers itself there
SWITCH_MARKS = "/run/steelyard-switch"
ROUTES = "/run/steelyard-routes"
ASLEEP = "/run/steelyard-asleep"
SURGE = "/run/steelyard-surge"
CLAIMS = "/run/steelyard-room"
UNDO_TURNS = "/run/steelyard-undo"
WATCHED = "/run/steelyard-watch"
OF_SERVICES = (SWITCH_MARKS, ROUTES, ASLEEP, SURGE, CLAIMS, WATCHED, UNDO_TURNS)  # an entry for each service
DIFY_JOBS = "/run/steelyard-dify"


def model_mount(service: str) -> str:
    """The folder in which the service's engine sees its model; the same at every version."""
    return "%s/%s/model" % (RUN, service)


def engine_socket(service: str) -> str:
    """The Unix socket on which the service's engine serves HTTP."""
    return "%s/%s/engine.sock" % (RUN, service)


def cache_of(service: str) -> str:
    """The folder that the service's engine may write."""
    return "%s/%s" % (CACHES, service)
