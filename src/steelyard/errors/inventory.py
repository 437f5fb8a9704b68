"""What can be wrong with an inventory, a limit, a setting or a vault: found before any host is touched."""

from __future__ import annotations

from .base import Exit, SteelyardError


class InventoryMissing(SteelyardError):
    """The path given with -i is not there."""

    sentence = "no inventory here"
    fix = "name an inventory directory with `-i DIR`, or write one with `steelyard init {where}`"
    sample = {"where": "inventories/prod"}


class InventoryUnreadable(SteelyardError):
    """ansible-core could not read it."""

    sentence = "the inventory cannot be read: {why}"
    fix = "mend the file; `ansible-inventory -i {where} --list` shows the same error"
    sample = {"where": "inventories/prod", "why": "while parsing a block mapping, line 4, column 3"}
    why: str


class InventoryEmpty(SteelyardError):
    """It is there and holds no host."""

    sentence = "the inventory holds no host"
    fix = "add hosts to {where}/hosts.yml"
    sample = {"where": "inventories/prod"}
    exit = Exit.NO_HOST


class LimitMatchedNoHost(SteelyardError):
    """A pattern that names nothing in this inventory, or names an empty group."""

    sentence = "the pattern `{pattern}` matches no host; groups here: {groups}"
    fix = "use a host, a group or an Ansible pattern that matches; `{nearest}` is the nearest name"
    sample = {"where": "--limit", "pattern": "gpus", "groups": "gpu, mirror", "nearest": "gpu"}
    exit = Exit.NO_HOST
    pattern: str
    groups: str
    nearest: str


class SettingUnknown(SteelyardError):
    """A key that no role declares."""

    sentence = "unknown setting `{found}` in `{section}`; allowed here: {allowed}"
    fix = "rename it to `{nearest}`, or remove it"
    sample = {"where": "gpu.yml:7", "section": "vllm", "found": "prot", "allowed": "host, port", "nearest": "port"}
    section: str
    found: str
    allowed: str
    nearest: str


class SettingWrong(SteelyardError):
    """A value of the wrong type or outside what is allowed."""

    sentence = "setting `{key}` is {found}; allowed: {allowed}"
    fix = "change the value of `{key}`"
    sample = {"where": "models.yml:12", "key": "models.llm/tiny.serve.port", "found": "'http'", "allowed": "an integer"}
    key: str
    found: str
    allowed: str


class SettingMissing(SteelyardError):
    """A key without a default that is not given."""

    sentence = "setting `{key}` is missing; it is {allowed}"
    fix = "add `{key}`"
    sample = {"where": "models.yml:4", "key": "models.llm/tiny.source", "allowed": "where the weights come from"}
    key: str
    allowed: str


class PortTwice(SteelyardError):
    """Two services of one host declare one port."""

    sentence = "port `{port}` is declared for `{first}` and for `{second}` on host `{host}`"
    fix = "give one of them another `serve.port`"
    sample = {"where": "models.yml:9", "port": "8000", "first": "tiny", "second": "big", "host": "gpu-1"}
    port: str
    first: str
    second: str
    host: str


class VaultPasswordMissing(SteelyardError):
    """There are encrypted values and no password was given."""

    sentence = "the inventory holds vault values and no vault password was given"
    fix = "pass `--vault-password-file FILE`, or set ANSIBLE_VAULT_PASSWORD_FILE"
    sample = {"where": "inventories/prod"}


class VaultPasswordWrong(SteelyardError):
    """The password does not open the vault values."""

    sentence = "the vault password in `{given}` does not open the vault values"
    fix = "pass the right file with `--vault-password-file`"
    sample = {"where": "inventories/prod", "given": "~/.vault-pass"}
    given: str


class UsageWrong(SteelyardError):
    """An option or argument the command line does not know."""

    sentence = "{why}"
    fix = "see `{where} --help`"
    sample = {"where": "steelyard plan", "why": "no such option: --limt (did you mean --limit?)"}
    why: str


class DeployMissing(SteelyardError):
    """The deploy file named is not there."""

    sentence = "no deploy file here"
    fix = "name a deploy that exists: {allowed}, or a path"
    sample = {"where": "deploy/sit.py", "allowed": "site, hosts, models, serve, dify"}
    allowed: str


class DeployBroken(SteelyardError):
    """A deploy file of the user's own does not run."""

    sentence = "the deploy file does not run: {why}"
    fix = "mend that line"
    sample = {"where": "deploy/mine.py:7", "why": "NameError: name 'hots' is not defined"}
    why: str


class ConfirmationImpossible(SteelyardError):
    """Changes are pending, nobody can be asked, and --yes was not given."""

    sentence = "{changes} changes are pending and there is no terminal to confirm them on"
    fix = "pass `--yes`, or look first with `steelyard plan`"
    sample = {"where": "steelyard apply", "changes": "12"}
    changes: str


class DirectoryNotEmpty(SteelyardError):
    """`init` was pointed at a folder that holds files."""

    sentence = "the folder is not empty; nothing was written"
    fix = "name a new folder: `steelyard init inventories/NAME`"
    sample = {"where": "inventories/prod"}


class ShareWrong(SteelyardError):
    """`--serial` or `--max-fail` is neither a number of hosts nor a percentage."""

    sentence = "`{found}` is neither a number of hosts (at least {least}) nor a percentage (up to 100%)"
    fix = "write `{where} 2` or `{where} 25%`"
    sample = {"where": "--serial", "found": "half", "least": "1"}
    found: str
    least: str


class ImageListWrong(SteelyardError):
    """An entry of a list of images cannot be used; nothing was copied."""

    sentence = "{found} is no image by digest; allowed is {allowed}"
    fix = "name each image by its digest: `skopeo inspect docker://IMAGE | grep Digest` tells it"
    sample = {"where": "images.yml:3", "found": "'alpine:latest'", "allowed": "REGISTRY/REPOSITORY[:TAG]@sha256:DIGEST"}
    exit = Exit.USAGE
    found: str
    allowed: str


class RegistryMissing(SteelyardError):
    """No declared registry takes pushes."""

    sentence = "no registry without an upstream is declared{named}, and images are copied into one"
    fix = "declare one under `registry_mirror.registries`, as `pushed` with `port: 5000`, and apply"
    sample = {"where": "inventories/lab", "named": " under the name hub"}
    exit = Exit.USAGE
    named: str


class OptionOwned(SteelyardError):
    """An engine option that steelyard sets itself, from somewhere else."""

    sentence = "`{option}` is not yours to set in `serve.options`: steelyard sets it"
    fix = "remove it, and set {instead}"
    sample = {"where": "models.yml:12", "option": "port", "instead": "`serve.port`"}
    option: str
    instead: str
