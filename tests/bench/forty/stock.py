"""The same forty tasks with pyinfra's own operations."""

from pathlib import Path

from pyinfra.operations import apt, files, server, systemd

TEMPLATE = Path(__file__).parent / "forty.conf.j2"
FILES = Path(__file__).parent / "files"

for package in ("openssh-server", "sudo", "python3", "iproute2"):
    apt.packages(name=f"Install {package}", packages=[package])
for number in range(6):
    files.directory(
        name=f"Make folder {number}", path=f"/opt/forty/folder{number}", mode="750", user="root", group="root"
    )
for number in range(6):
    files.put(
        name=f"Write file {number}",
        src=str(FILES / f"file{number}"),
        dest=f"/opt/forty/file{number}",
        mode="644",
        user="root",
        group="root",
    )
for number in range(5):
    files.template(
        name=f"Configure service {number}",
        src=str(TEMPLATE),
        dest=f"/opt/forty/service{number}.conf",
        mode="644",
        user="root",
        group="root",
        jinja_env_kwargs={"trim_blocks": True, "lstrip_blocks": True},
        service=f"service {number}",
        port=8000 + number,
        peers=["a", "b", "c"],
    )
for number in range(5):
    files.line(
        name=f"Set line {number}", path="/etc/pam.conf", line=f"^FORTY{number}=.*", replace=f"FORTY{number}={number}"
    )
for number in range(4):
    server.user(name=f"Make account {number}", user=f"forty{number}", system=True, ensure_home=False)
for unit in ("ssh.service", "systemd-journald.service", "dbus.service", "systemd-logind.service"):
    systemd.service(name=f"Run {unit}", service=unit, running=True)
for key, wanted in (
    ("net.ipv4.tcp_syncookies", 1),
    ("net.ipv4.conf.all.rp_filter", 0),
    ("net.ipv4.tcp_fin_timeout", 60),
):
    server.sysctl(name=f"Set {key}", key=key, value=wanted)
for number in range(3):
    files.link(name=f"Link {number}", path=f"/opt/forty/link{number}", target=f"/opt/forty/file{number}")
