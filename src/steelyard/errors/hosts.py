"""What can be wrong with one host, found while talking to it. Other hosts go on."""

from __future__ import annotations

from .base import Exit, SteelyardError


class HostUnreachable(SteelyardError):
    """No connection, or no login."""

    sentence = "unreachable: {why}"
    fix = "check the address, the network and the key: `ssh {address}`"
    sample = {"where": "gpu-2", "why": "connection refused", "address": "10.0.0.12"}
    exit = Exit.HOST_FAILED
    why: str
    address: str


class HostKeyChanged(SteelyardError):
    """The host shows another key than the one in known_hosts."""

    sentence = "the host key is not the known one; nothing was sent"
    fix = "find out why it changed; if it was meant: `ssh-keygen -R {address} -f {known_hosts}`, then add the new key"
    sample = {"where": "gpu-2", "address": "10.0.0.12", "known_hosts": "~/.ssh/known_hosts"}
    exit = Exit.HOST_FAILED
    address: str
    known_hosts: str


class HostKeyUnknown(SteelyardError):
    """Strict checking is on and known_hosts has no key for the host."""

    sentence = "no host key for `{address}` in `{known_hosts}`, and keys are checked strictly"
    fix = "compare and record it: `steelyard doctor -i INVENTORY --record-keys`"
    sample = {"where": "gpu-2", "address": "10.0.0.12", "known_hosts": "~/.ssh/known_hosts"}
    exit = Exit.HOST_FAILED
    address: str
    known_hosts: str


class SudoRefused(SteelyardError):
    """The login works and becoming root does not."""

    sentence = "user `{user}` cannot become root: {why}"
    fix = "allow it (`{user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d), or set `ansible_become_password` in the vault"
    sample = {"where": "gpu-2", "user": "ops", "why": "sudo: a password is required"}
    exit = Exit.HOST_FAILED
    user: str
    why: str


class HostSilent(SteelyardError):
    """It answered before and stopped."""

    sentence = "no answer within {seconds} s while asking {asked}"
    fix = "look at the host's load and its network; raise `steelyard_timeout_s` if it is only slow"
    sample = {"where": "gpu-2", "seconds": "120", "asked": "`systemctl show vllm.service`"}
    exit = Exit.HOST_FAILED
    seconds: str
    asked: str


class ConnectionLost(SteelyardError):
    """It was connected, and the connection ended: the host went down, or the link was cut."""

    sentence = "the connection was lost: {why}"
    fix = "see whether the host is up and reachable, then `steelyard apply -l {where}` goes on from what is there"
    sample = {"where": "gpu-2", "why": "the shell ended"}
    exit = Exit.HOST_FAILED
    why: str


class FactFailed(SteelyardError):
    """A question to the host ended with an error."""

    sentence = "cannot read {fact}: {why}"
    fix = "run the question by hand on the host; the last lines above are its answer"
    sample = {"where": "gpu-2", "fact": "unit.UnitState", "why": "systemctl: command not found"}
    exit = Exit.HOST_FAILED
    fact: str
    why: str


class TaskFailed(SteelyardError):
    """A task ended with an error; later tasks of this host were not run."""

    sentence = "task `{task}` failed: {ended}: {command}"
    fix = "mend the cause shown above, then `steelyard apply --resume` goes on from there"
    sample = {"where": "gpu-2", "task": "vllm | Start the service", "ended": "exit 1", "command": "`systemctl start x`"}
    exit = Exit.HOST_FAILED
    task: str
    ended: str
    command: str


class LocalProgramMissing(SteelyardError):
    """The controller lacks a program."""

    sentence = "`{program}` is not installed on this machine"
    fix = "`apt-get install {package}`"
    sample = {"where": "steelyard lab up", "program": "systemd-nspawn", "package": "systemd-container"}
    program: str
    package: str


class HostDidNotReturn(SteelyardError):
    """A host that was rebooted did not come back in time."""

    sentence = "not back {seconds} s after its reboot: {why}"
    fix = "look at its console; `nvidia_driver.reboot_wait_s` is how long is waited; then `steelyard apply --resume`"
    sample = {"where": "gpu-2", "seconds": "900", "why": "unreachable: connection refused"}
    exit = Exit.HOST_FAILED
    seconds: str
    why: str


class KeyNotTrusted(SteelyardError):
    """A repository's signing key is not the one that was declared; no host got it."""

    sentence = "`{source}` holds {found}, and the key must be {allowed}; nothing was installed"
    fix = "get the right key, or after a rotation that its owner announced, declare the new fingerprint beside `{where}`"
    sample = {"where": "nvidia_driver.key_file", "source": "cuda.gpg", "found": "no key", "allowed": "EB69...63CC"}
    exit = Exit.HOST_FAILED
    source: str
    found: str
    allowed: str
