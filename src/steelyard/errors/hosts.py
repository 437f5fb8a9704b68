"""Failures of one host, met while talking to it. Other hosts go on."""

from __future__ import annotations

from typing import ClassVar

from .base import Exit, SteelyardError


class HostUnreachable(SteelyardError):
    """No connection: nothing answers at its address, or something refuses."""

    sentence = "unreachable: {why}"
    fix = (
        "see that it is up, that sshd listens there and no firewall is between: `ssh {address}`; "
        "`ansible_port` if it is not 22"
    )
    sample = {"where": "gpu-2", "why": "connection refused", "address": "10.0.0.12"}
    exit = Exit.HOST_FAILED
    why: str
    address: str


class AddressUnknown(HostUnreachable):
    """The host's name has no address."""

    sentence = "unreachable: `{address}` has no address: {why}"
    fix = "set `ansible_host` of {where} to its address, or a name that resolves here: `getent hosts NAME`"
    sample = {"where": "gpu-2", "why": "Name or service not known", "address": "gpu-2"}


class LoginRefused(HostUnreachable):
    """The host answers, and lets nobody in with what was offered."""

    sentence = "the login was refused"
    fix = "put the key there: `ssh-copy-id {address}`; or correct `ansible_user` and `ansible_ssh_private_key_file`"
    sample = {"where": "gpu-2", "why": "the login was refused", "address": "ops@10.0.0.12"}


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
    fix = "compare and record it: `steelyard doctor --record-keys`"
    sample = {"where": "gpu-2", "address": "10.0.0.12", "known_hosts": "~/.ssh/known_hosts"}
    exit = Exit.HOST_FAILED
    address: str
    known_hosts: str


class HostKeyRevoked(SteelyardError):
    """known_hosts marks the key that the host shows as revoked."""

    sentence = "the host key is marked `@revoked` in known_hosts; nothing was sent"
    fix = "find out who has its private key; then give the host a new one: `ssh-keygen -A` there, without the old file"
    sample = {"where": "gpu-2"}
    exit = Exit.HOST_FAILED


class SshConfigUnreadable(SteelyardError):
    """ssh itself cannot read its configuration, so nobody knows how it would reach the host."""

    sentence = "ssh cannot say how it would connect: {why}"
    fix = "mend what it names, until `ssh -G {where}` prints options"
    sample = {"where": "gpu-2", "why": "/root/.ssh/config: line 3: Bad configuration option: prot"}
    exit = Exit.HOST_FAILED
    why: str


class SudoRefused(SteelyardError):
    """The login works and becoming root does not."""

    sentence = "user `{user}` cannot become root: {why}"
    fix = "allow it (`{user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d), or set `ansible_become_password` in the vault"
    sample = {"where": "gpu-2", "user": "ops", "why": "sudo: a password is required"}
    exit = Exit.HOST_FAILED
    user: str
    why: str


class SudoPasswordWrong(SteelyardError):
    """sudo asked, was given `ansible_become_password`, and asked again. Tried once."""

    sentence = "sudo did not take the password of user `{user}`"
    fix = "put the right `ansible_become_password` of the host into the vault: `ansible-vault encrypt_string`"
    sample = {"where": "gpu-2", "user": "ops"}
    exit = Exit.HOST_FAILED
    user: str


class BecomeRefused(SteelyardError):
    """The login works, and `su` or `doas` does not make another user of it."""

    sentence = "user `{user}` cannot become another by `{method}`: {why}"
    fix = (
        "put the other user's password into the vault as `ansible_become_password` (su), allow the login in "
        "/etc/doas.conf (doas), or use sudo: `ansible_become_method: sudo`"
    )
    sample = {"where": "gpu-2", "user": "ops", "method": "su", "why": "su: Authentication failure"}
    exit = Exit.HOST_FAILED
    user: str
    method: str
    why: str


class SudoNeedsTerminal(SteelyardError):
    """sudo's `requiretty` is on for the login."""

    sentence = "sudo wants a terminal from user `{user}`: {why}"
    fix = "put `Defaults:{user} !requiretty` into a file of /etc/sudoers.d there"
    sample = {"where": "gpu-2", "user": "ops", "why": "sudo: sorry, you must have a tty to run sudo"}
    exit = Exit.HOST_FAILED
    user: str
    why: str


class SudoMissing(SteelyardError):
    """The login is not root, and the host has no sudo."""

    sentence = "there is no sudo, and user `{user}` is not root"
    fix = "install sudo there, or set `ansible_user: root`"
    sample = {"where": "gpu-2", "user": "ops"}
    exit = Exit.HOST_FAILED
    user: str


class HostSilent(SteelyardError):
    """The host answered before and stopped."""

    sentence = "no answer within {seconds} s while asking {asked}"
    fix = "look at the host's load and its network; raise `steelyard_timeout_s` if it is only slow"
    sample = {"where": "gpu-2", "seconds": "120", "asked": "`systemctl show vllm.service`"}
    exit = Exit.HOST_FAILED
    seconds: str
    asked: str


class ConnectionLost(SteelyardError):
    """The connection ended: the host went down, or the link was cut."""

    sentence = "the connection was lost: {why}"
    fix = "see whether the host is up and reachable, then `steelyard apply -l {where}` goes on from what is there"
    sample = {"where": "gpu-2", "why": "the shell ended"}
    exit = Exit.HOST_FAILED
    why: str


class DidMore(SteelyardError):
    """A command that was sent ahead of its task was run, and its task then asked for another one."""

    sentence = "ran {command}, which was planned, and which its task did not ask for when its turn came"
    fix = (
        "see with `steelyard plan -l {where}` what is left, and apply again; an operation whose commands do not follow "
        "from its arguments and facts alone must not be marked `foreseen`"
    )
    sample = {"where": "gpu-2", "command": "`sysctl -q -w net.ipv4.tcp_fin_timeout=60`"}
    exit = Exit.HOST_FAILED
    command: str


class FactFailed(SteelyardError):
    """A question to the host ended with an error."""

    sentence = "cannot read {fact}: {why}"
    fix = (
        "mend what makes {fact} fail on the host, where it can be run by hand as root; then run the same command again"
    )
    sample = {"where": "gpu-2", "fact": "unit.UnitState", "why": "systemctl: command not found"}
    exit = Exit.HOST_FAILED
    fact: str
    why: str


class TaskFailed(SteelyardError):
    """A task ended with an error; later tasks of this host were not run."""

    sentence = "task `{task}` failed: {ended}: {command}"
    fix = "{mend}, then `steelyard apply --resume` goes on from there"
    sample = {
        "where": "gpu-2",
        "task": "vllm | Start the service",
        "ended": "exit 1",
        "command": "`systemctl start x`",
        "mend": "mend the cause shown above",
    }
    exit = Exit.HOST_FAILED
    mend: str  # where it said nothing, nothing is shown
    task: str
    ended: str
    command: str


class EngineFailed(SteelyardError):
    """An engine did not start, or died while it started; its journal says why. The lines themselves are shown with
    `-v`.
    """

    sentence = "service {service}: {cause}"
    fix = "{mend}; then `steelyard apply --resume` goes on from there"
    sample = {
        "where": "gpu-2",
        "service": "chat",
        "cause": "`max_model_len` 1000000 is more than the model's own 2048",
        "mend": "set `serve.max_model_len` in models.yml to 2048 or less",
        "code": "context-too-long",
        "task": "vllm | Run the service",
    }
    exit = Exit.HOST_FAILED
    explains: ClassVar[bool] = True
    service: str
    cause: str
    mend: str
    code: str
    task: str


class NotRestarted(SteelyardError):
    """A service was not taken down, because another replica of its alias is: somebody has to serve."""

    sentence = "`{service}` was not restarted: {other}, its other replica, {why}"
    fix = (
        "mend {other}, then `steelyard apply --resume`; `steelyard apply -l {where}` restarts it although nobody "
        "serves meanwhile"
    )
    sample = {"where": "gpu-2", "service": "chat", "other": "gpu-1", "why": "did not come back"}
    exit = Exit.HOST_FAILED
    service: str
    other: str
    why: str


class LocalProgramMissing(SteelyardError):
    """The controller lacks a program."""

    sentence = "`{program}` is not installed on this machine"
    fix = "`apt-get install {package}` on Debian and Ubuntu; elsewhere the package that has `{program}`"
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
    fix = (
        "get the right key, or after a rotation that its owner announced, declare the new fingerprint beside `{where}`"
    )
    sample = {"where": "nvidia_driver.key_file", "source": "cuda.gpg", "found": "no key", "allowed": "EB69...63CC"}
    exit = Exit.HOST_FAILED
    source: str
    found: str
    allowed: str
