"""Failures of taking something out of a site."""

from __future__ import annotations

from .base import Exit, SteelyardError


class HostUnknown(SteelyardError):
    """A command names a host that is neither declared nor remembered."""

    sentence = "there is no host `{host}`, and nobody remembers one; declared: {allowed}"
    fix = "did you mean `{nearest}`?"
    sample = {"where": "inventories/prod", "host": "gpu-33", "nearest": "gpu-3", "allowed": "gw-1, gpu-1, gpu-3"}
    host: str
    nearest: str
    allowed: str


class LastReplica(SteelyardError):
    """A host that goes serves the last replica of an alias."""

    sentence = "{host} serves the last replica of {aliases}: clients would be told that there is no such model"
    fix = "serve it on another host first: `serve.hosts` at {where}, then `steelyard apply`; or add `--last`"
    sample = {"where": "models.yml:12", "host": "gpu-3", "aliases": "alias `small`"}
    host: str
    aliases: str


class LastOfGroup(SteelyardError):
    """A host that goes is the last of a group that the rest of the site needs."""

    sentence = "{host} is the last host of group `{group}`, which the rest of the site needs"
    fix = "put another host into the group `{group}`, then `steelyard apply`, and remove {host} afterwards"
    sample = {"where": "inventories/prod", "host": "gw-1", "group": "gateway"}
    host: str
    group: str


class HostDoesNotAnswer(SteelyardError):
    """A host that is to be removed cannot be reached, so nothing can be stopped or cleared on it."""

    sentence = "{host} does not answer at {address}, so it cannot be drained and cleared: {why}"
    fix = "bring it back; or add `--dead` to take it out of everything else, and see that it never comes back as it is"
    sample = {"where": "gpu-3", "host": "gpu-3", "address": "10.0.0.13", "why": "unreachable: connection refused"}
    exit = Exit.HOST_FAILED
    host: str
    address: str
    why: str


class ModelDeclared(SteelyardError):
    """A version that models.yml declares is to be removed."""

    sentence = "{model} {version} is declared"
    fix = "take it out of {where} (or declare another version), `steelyard apply`, then run the same command again"
    sample = {"where": "models.yml:5", "model": "llm/small", "version": "v2"}
    model: str
    version: str
