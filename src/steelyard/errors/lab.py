"""Failures of the disposable fleet."""

from __future__ import annotations

from .base import Exit, SteelyardError


class LabNeedsRoot(SteelyardError):
    """Namespaces, mounts and systemd-nspawn are root's."""

    sentence = "the lab boots machines and must run as root; this is user id {uid}"
    fix = "run it with sudo, or as root"
    sample = {"where": "steelyard lab up", "uid": "1000"}
    uid: str


class LabNeedsLinux(SteelyardError):
    """systemd-nspawn exists on Linux only."""

    sentence = "the lab boots systemd-nspawn machines and needs Linux; this is {system}"
    fix = "run it on a Debian or Ubuntu machine; every other command works from here"
    sample = {"where": "steelyard lab up", "system": "Darwin"}
    system: str


class KernelFeatureMissing(SteelyardError):
    """The kernel or the container this runs in lacks something."""

    sentence = "this kernel does not offer {feature}: {why}"
    fix = "run the lab on a machine (or a virtual one) whose kernel has it; an unprivileged container will not do"
    sample = {"where": "steelyard lab up", "feature": "overlayfs", "why": "mount: unknown filesystem type 'overlay'"}
    feature: str
    why: str


class LabNameWrong(SteelyardError):
    """A lab's name is a folder's, and `lab down` removes that folder; a layer's is one too, and `lab snapshot` writes
    it.
    """

    sentence = (
        "a {what} cannot be called `{name}`; allowed are lower-case letters, digits and dashes, 32 at most, a "
        "letter or digit first"
    )
    fix = "choose another name, as `lab` or `second-lab`"
    sample = {"where": "steelyard lab", "what": "lab", "name": "../other"}
    what: str
    name: str


class LabDescriptionWrong(SteelyardError):
    """A description of a lab's hosts cannot be used; nothing was booted."""

    sentence = "the description of the lab cannot be used: {why}"
    fix = "write a list `hosts`, each with `name` and `groups`, as src/steelyard/lab/lab.yml has it"
    sample = {"where": "lab.yml", "why": "`hosts.0.name`: Field required"}
    why: str


class LabNotThere(SteelyardError):
    """No lab of that name."""

    sentence = "there is no lab `{name}`; labs here: {labs}"
    fix = "boot it with `steelyard lab up --name {name}`"
    sample = {"where": "steelyard lab ssh", "name": "lab", "labs": "none"}
    exit = Exit.NO_HOST
    name: str
    labs: str


class LabHostNotThere(SteelyardError):
    """The lab runs and has no such host."""

    sentence = "the lab has no host `{host}`; hosts: {hosts}"
    fix = "name one of its hosts"
    sample = {"where": "steelyard lab ssh", "host": "gpu-9", "hosts": "mirror, gw, gpu-1"}
    exit = Exit.NO_HOST
    host: str
    hosts: str


class LabHostDown(SteelyardError):
    """A lab host did not answer in time after boot."""

    sentence = "no SSH answer within {seconds} s after boot; its last words: {console}"
    fix = "read {log}, then `steelyard lab down` and `up` again"
    sample = {"where": "gpu-1", "seconds": "60", "console": "Reached target Multi-User", "log": "console.log"}
    exit = Exit.HOST_FAILED
    seconds: str
    console: str
    log: str


class LabStepFailed(SteelyardError):
    """A program the lab needs ended with an error."""

    sentence = "`{command}` failed: {why}"
    fix = "mend the cause, then run the command again; `steelyard lab down` clears a half-made lab"
    sample = {"where": "lab", "command": "mmdebstrap", "why": "E: apt-get update failed"}
    exit = Exit.HOST_FAILED
    command: str
    why: str
