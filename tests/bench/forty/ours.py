"""The forty tasks with our operations. Beside it: the same with stock pyinfra's (stock.py) and Ansible's
(playbook.yml).
"""

from pathlib import Path

from steelyard.api.template import render
from steelyard.modules.operations.account import system_account
from steelyard.modules.operations.line import line
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import file, folder, link
from steelyard.modules.operations.sysctl import value
from steelyard.modules.operations.unit import running

TEMPLATE = Path(__file__).parent / "forty.conf.j2"

for package in ("openssh-server", "sudo", "python3", "iproute2"):
    installed(name=f"Install {package}", packages=(package,))
for number in range(6):
    folder(name=f"Make folder {number}", path=f"/opt/forty/folder{number}", mode="0750")
for number in range(6):
    file(name=f"Write file {number}", path=f"/opt/forty/file{number}", content=f"file {number}\n" * 100)
for number in range(5):
    rendered = render(TEMPLATE, service=f"service {number}", port=8000 + number, peers=["a", "b", "c"])
    file(name=f"Configure service {number}", path=f"/opt/forty/service{number}.conf", content=rendered)
for number in range(5):
    line(name=f"Set line {number}", path="/etc/pam.conf", line=f"FORTY{number}={number}", match=f"^FORTY{number}=")
for number in range(4):
    system_account(name=f"Make account {number}", user=f"forty{number}")
for unit in ("ssh.service", "systemd-journald.service", "dbus.service", "systemd-logind.service"):
    running(name=f"Run {unit}", unit=unit)
for key, wanted in (
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.tcp_fin_timeout", "60"),
):
    value(name=f"Set {key}", key=key, value=wanted)
for number in range(3):
    link(name=f"Link {number}", path=f"/opt/forty/link{number}", target=f"/opt/forty/file{number}")
