"""Ways to one lab host as inventories say them, and what stands on the hosts and on this machine for them.

Each variant is a host of one inventory; ansible-core and we are asked who we are there and where we come from.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

ON_TARGET = r"""
for user in noisy unended asked terminal nobodys secret; do useradd -m -s /bin/bash $user; done
for user in noisy unended asked terminal nobodys; do
    install -d -m 700 -o $user -g $user /home/$user/.ssh
    install -m 600 -o $user -g $user /home/ops/.ssh/authorized_keys /home/$user/.ssh/authorized_keys
done
sed -i '1i echo "Welcome, and read this"; echo "and this" >&2' /home/noisy/.bashrc
sed -i '1i printf "no end of line"' /home/unended/.bashrc
printf 'noisy,unended ALL=(ALL) NOPASSWD: ALL\nasked ALL=(ALL) ALL\n' >/etc/sudoers.d/variants
printf 'Defaults:terminal requiretty\nterminal ALL=(ALL) NOPASSWD: ALL\n' >>/etc/sudoers.d/variants
printf 'secret ALL=(ALL) NOPASSWD: ALL\n' >>/etc/sudoers.d/variants
printf 'asked:pass word\nsecret:log in\nroot:of root\n' | chpasswd
printf 'All that you do is recorded.\n' >/etc/banner; printf 'hello\n' >/etc/motd
sed -i '1i Port 22\nPort 2222\nBanner /etc/banner\nPasswordAuthentication yes' /etc/ssh/sshd_config
ssh-keygen -q -t rsa -b 2048 -N '' -f /etc/ssh/ssh_host_rsa_key
/usr/sbin/sshd -t && systemctl restart ssh
"""
LEFT_HERE = {  # reached by Ansible, refused here by name
    "terminal": "SudoNeedsTerminal",
    "forwards": "ConnectionNotSupported",
    "wrapped": "ConnectionNotSupported",
}
MORE_HERE = {"hop-with-the-hosts-key"}  # ssh offers a hop only what its own files say


class Places:
    """Addresses, keys and files that variants name."""

    def __init__(self, folder: Path, target: str, hop: str, key: Path, known: Path, sh: Callable[[str], str]) -> None:
        self.folder, self.target, self.hop, self.key, self.known = folder, target, hop, key, known
        keys = {kind: sh(f"cat /etc/ssh/ssh_host_{kind}_key.pub").split() for kind in ("rsa", "ed25519")}
        every = [" ".join(line[:2]) for line in keys.values()]
        rsa, ed25519 = every
        self.write("rsa", f"{target} {rsa}\n")
        self.write("pattern", f"10.* {ed25519}\n[10.*]:2222 {ed25519}\n")
        self.write("other", f"192.0.2.1 {rsa}\n")
        self.write("wrong", f"{target} {self.stranger()}\n")
        self.write("revoked", f"{target} {ed25519}\n{target} {rsa}\n@revoked * {ed25519}\n")
        self.write("only-revoked", f"{target} {ed25519}\n@revoked * {ed25519}\n@revoked {target} {rsa}\n")
        self.write("alias", f"the-target {ed25519}\n")
        hashed = self.write("hashed", f"{target} {ed25519}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(hashed)], check=True, capture_output=True)
        own = f"  IdentityFile {key}\n  UserKnownHostsFile {known}\n"
        self.write(
            "config",
            f"Include {folder}/included\nHost hop\n  HostName {hop}\n  User ops\n{own}"
            f"Host second\n  HostName {target}\n  User ops\n{own}"
            f"Host named\n  HostName {target}\n  User ops\n  Port 2222\n  UserKnownHostsFile {folder}/pattern\n"
            f"  IdentityFile {key}\nHost far\n  HostName {target}\n  User ops\n  ProxyJump hop\n{own}",
        )
        self.write("included", f'Match host matched exec "test -e {folder}/included"\n  HostName {target}\n{own}')
        self.write("broken", "Host *\n  Prot 22\n")
        wrapper = self.write("wrapper", '#!/bin/sh\nexec ssh "$@"\n')
        wrapper.chmod(0o755)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def stranger(self) -> str:
        """A host key that no host has."""
        path = self.folder / "stranger"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def variants(at: Places) -> dict[str, dict[str, Any]]:
    """Variables of each variant, over those of `usual`."""
    files, config = at.folder, f"-F {at.folder}/config"
    known = f"-o UserKnownHostsFile={at.known}"
    through = f"ssh -F {at.folder}/config -W %h:%p hop"
    nowhere: dict[str, Any] = {"ansible_host": None, "ansible_user": None, "ansible_ssh_private_key_file": None}
    return {
        "plain": {},
        "older-names": {
            **nowhere,
            "ansible_ssh_host": at.target,
            "ansible_ssh_user": "ops",
            "ansible_private_key_file": str(at.key),
        },
        "both-names": {"ansible_host": "192.0.2.1", "ansible_ssh_host": at.target},
        "port": {"ansible_ssh_port": 2222, "ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/pattern"},
        "port-first": {"ansible_ssh_args": "-p 22", "ansible_port": 2223},
        "port-last": {"ansible_port": 22, "ansible_ssh_extra_args": "-oPort=2223"},
        "wrong-port": {"ansible_ssh_args": "-p 2223", "ansible_port": 22},
        "user-first": {"ansible_ssh_args": "-l noisy", "ansible_user": "ops"},
        "user-in-address": {"ansible_user": None, "ansible_host": f"ops@{at.target}"},
        "key-in-arguments": {"ansible_ssh_private_key_file": None, "ansible_ssh_extra_args": f"-i {at.key}"},
        "key-glued": {"ansible_ssh_private_key_file": None, "ansible_ssh_args": f"-4oIdentityFile={at.key}"},
        "no-key": {"ansible_ssh_private_key_file": None},
        "several-known": {"ansible_ssh_common_args": f"-o 'UserKnownHostsFile {files}/other {at.known}'"},
        "rsa-only": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/rsa"},
        "hashed": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/hashed"},
        "pattern": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/pattern"},
        "alias": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/alias -o 'HostKeyAlias the-target'"},
        "revoked": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/revoked"},
        "only-revoked": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/only-revoked"},
        "unknown": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/other"},
        "wrong-key": {"ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/wrong"},
        "wrong-key-unchecked": {
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/wrong -o StrictHostKeyChecking=no"
        },
        "strict-first": {
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/other -o StrictHostKeyChecking=yes "
            "-o StrictHostKeyChecking=no"
        },
        "unchecked-variable": {
            "ansible_host_key_checking": False,
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/new1",
        },
        "accept-new": {
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={files}/new2 -o 'StrictHostKeyChecking accept-new'"
        },
        "hop": {"ansible_ssh_common_args": f"{config} {known} -J hop"},
        "hop-option": {"ansible_ssh_common_args": f"{config} {known} -o 'ProxyJump = hop'"},
        "two-hops": {"ansible_ssh_common_args": f"{config} {known} -J hop,second"},
        "hop-none": {"ansible_host": "far", "ansible_ssh_args": f"{config} -o ProxyJump=none"},
        "hop-with-the-hosts-key": {"ansible_ssh_common_args": f"{known} -J ops@{at.hop}"},
        "hop-of-config": {**nowhere, "ansible_host": "far", "ansible_ssh_common_args": config},
        "command": {"ansible_ssh_common_args": f"{known} -o 'ProxyCommand={through}'"},
        "command-before-hop": {
            "ansible_ssh_args": f"-o 'ProxyCommand {through}'",
            "ansible_ssh_common_args": f"{known} -o ProxyJump=nowhere",
        },
        "dead-command": {"ansible_ssh_common_args": f"{known} -o 'ProxyCommand=echo no way >&2; exit 1'"},
        "config": {**nowhere, "ansible_host": "named", "ansible_ssh_common_args": config},
        "match-and-include": {
            **nowhere,
            "ansible_host": "matched",
            "ansible_user": "ops",
            "ansible_ssh_common_args": config,
        },
        "broken-config": {"ansible_ssh_common_args": f"-F {files}/broken"},
        "no-config": {"ansible_ssh_common_args": f"-F {files}/not-there"},
        "password": {"ansible_user": "secret", "ansible_ssh_private_key_file": None, "ansible_password": "log in"},
        "wrong-password": {"ansible_user": "secret", "ansible_ssh_private_key_file": None, "ansible_ssh_pass": "wrong"},
        "noisy": {"ansible_user": "noisy"},
        "unended": {"ansible_user": "unended"},
        "asked": {"ansible_user": "asked", "ansible_become_password": "pass word"},
        "asked-noisy-flags": {
            "ansible_user": "asked",
            "ansible_become_pass": "pass word",
            "ansible_become_flags": "-H -S -i",
        },
        "asked-wrong": {"ansible_user": "asked", "ansible_become_password": "wrong"},
        "asked-without": {"ansible_user": "asked"},
        "become-user": {"ansible_become_user": "noisy"},
        "become-own-name": {"ansible_become_user": "noisy", "ansible_sudo_user": "nobodys"},
        "chdir": {"ansible_sudo_chdir": "/tmp", "ansible_become_exe": "/usr/bin/sudo"},
        "su": {"ansible_become_method": "su", "ansible_become_password": "of root"},
        "su-user": {"ansible_become_method": "su", "ansible_su_user": "secret", "ansible_su_pass": "log in"},
        "su-wrong": {"ansible_become_method": "su", "ansible_become_password": "wrong"},
        "no-become": {"ansible_become": False, "ansible_user": "nobodys"},
        "not-allowed": {"ansible_user": "nobodys"},
        "terminal": {"ansible_user": "terminal"},
        "forwards": {"ansible_ssh_extra_args": "-R 9999:127.0.0.1:9"},
        "wrapped": {"ansible_ssh_executable": f"{files}/wrapper"},
        "quote": {"ansible_ssh_extra_args": "-o 'Port=22"},
        "no-option": {"ansible_ssh_extra_args": "-o Prot=22"},
    }


def usual(at: Places) -> dict[str, Any]:
    """Variables of the inventory, of which a variant changes some."""
    return {
        "ansible_host": at.target,
        "ansible_user": "ops",
        "ansible_become": True,
        "ansible_ssh_private_key_file": str(at.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={at.known}",
    }
