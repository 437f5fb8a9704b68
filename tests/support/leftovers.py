"""What is left of a name on the hosts of a lab, in a gateway that runs, in the controller's records, and in Dify."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from steelyard.dirs import fleet_key, state_folder

from .hands_site import HandsSite
from .lab_site import on_host, steelyard

# the journal and the audit logs are history, and say what was done; a lab writes its own /etc/hosts; Dify is asked
# itself, and its double keeps what it was sent; userdel keeps the tables of accounts as they were before
FOLDERS = "/etc /opt/steelyard /usr/lib/steelyard /usr/lib/systemd /var/lib /var/cache /run /models"
SCAN = """
grep -rIlFs {words} {folders} --exclude-dir=journal \\
  --exclude-dir=apt-cacher-ng --exclude-dir=site-packages --exclude-dir=lists --exclude-dir=lab-dify \\
  --exclude=hosts --exclude=passwd- --exclude=group- --exclude=shadow- --exclude=gshadow- | sed 's/^/file: /'
for word in {names}; do
  find {folders} -xdev -name "*$word*" 2>/dev/null | sed 's/^/path: /'
  systemctl list-units --all --plain --no-legend --full | grep -F -e "$word" | sed 's/^/unit: /'
done
ps -eo args= | grep -F {words} | grep -v -e grep -e 'sh -c' | sed 's/^/process: /'
for command in 'show stat' 'show servers state' 'show table at-once' 'show table per-minute' \\
  'show map /etc/haproxy/steelyard-alias.map' 'show map /etc/haproxy/steelyard-keys.map' \\
  'show map /etc/haproxy/steelyard-models.map'; do
  test -S /run/haproxy/admin.sock || continue
  python3 - "$command" <<'END' | grep -F {words} | sed "s,^,haproxy $command: ,"
import socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect("/run/haproxy/admin.sock")
link.sendall(sys.argv[1].encode() + b"\\n")
print(b"".join(iter(lambda: link.recv(65536), b"")).decode())
END
done
true
"""


def on_hosts(site: HandsSite, words: Iterable[str], hosts: Iterable[str]) -> list[str]:
    """A line for each place on a host that still names one of `words`."""
    words = list(words)
    options = " ".join(f"-e '{word}'" for word in words)
    script = SCAN.format(words=options, names=" ".join(f"'{word}'" for word in words), folders=FOLDERS)
    return [f"{host}: {line}" for host in hosts for line in on_host(site, host, script).splitlines()]


def listening(site: HandsSite, port: int, hosts: Iterable[str]) -> list[str]:
    """Hosts on which anything listens on the port, on any address."""
    return [host for host in hosts if on_host(site, host, f"ss -Hltn 'sport = :{port}'").strip()]


def in_records(site: HandsSite, words: Iterable[str]) -> list[str]:
    """Records of this controller, for this inventory, that name one of `words`; and the lab's known host keys."""
    key = fleet_key(site.inventory)
    paths = [path for path in state_folder().rglob(f"{key}*") if path.is_file()]
    paths.append(site.lab.paths.known_hosts)
    return [str(path) for path in paths for word in words if word in path.read_text()]


def in_dify(site: HandsSite, words: Iterable[str]) -> list[str]:
    """Models that Dify lists under one of `words`."""
    done = steelyard("dify", "ls", "-i", str(site.inventory), "--json")
    assert done.returncode == 0, done.stderr
    return [row["model"] for row in json.loads(done.stdout)["models"] if row["model"] in set(words)]


def key_hash(key: str) -> str:
    """The hash under which a gateway has a client's key."""
    return hashlib.sha256(key.encode()).hexdigest()
