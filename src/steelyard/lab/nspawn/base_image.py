"""The shared lowest layer: a bare Debian as an installer leaves it, made once with mmdebstrap and kept.

The recipe's digest is kept beside the folder; another recipe makes a new base. Nothing in it belongs to one host.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from .machine import place
from .paths import base_folder
from .programs import run

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "python3",
    "ca-certificates",
    "iproute2",
    "iputils-ping",
    "procps",
    "curl",
    "nftables",
    "less",
)
# Units that have nothing to do in a container or would work at a bad moment.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "fstrim.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "systemd-pstore.service",
    "console-getty.service",
    "getty.target",
    "sshd-keygen.service",
    "systemd-firstboot.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-update-utmp.service",
    "systemd-networkd-wait-online.service",
)
SSHD = "UseDNS no\nMaxStartups 100\nMaxSessions 100\nPermitRootLogin no\nPasswordAuthentication no\n"
JOURNAL = "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n"


def recipe_digest(release: str) -> str:
    return hashlib.sha256(repr((release, PACKAGES, MASKED, SSHD, JOURNAL)).encode()).hexdigest()


def ensure_base(release: str, say: Callable[[str], None]) -> Path:
    """The folder of the base; made where it is missing or of another recipe (25-60 s, about 350 MB)."""
    folder = base_folder(release)
    mark = folder.with_suffix(".recipe")
    if folder.is_dir() and mark.exists() and mark.read_text() == recipe_digest(release):
        return folder
    say(f"making the Debian {release} base with mmdebstrap (once)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f".{release}.making")
    for stale in (made, folder):
        shutil.rmtree(stale, ignore_errors=True)
    run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", release, made)
    _prepare(made)
    made.rename(folder)
    mark.write_text(recipe_digest(release))
    return folder


def _prepare(root: Path) -> None:
    run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "ops")
    place(root, "etc/sudoers.d/ops", "ops ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    place(root, "etc/ssh/sshd_config.d/lab.conf", SSHD)
    place(root, "etc/systemd/journald.conf.d/lab.conf", JOURNAL)
    # hosts trust what this machine trusts: a build network may sit behind its own authority
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")
    if trusted.exists():
        place(root, "etc/ssl/certs/ca-certificates.crt", trusted.read_text())
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
