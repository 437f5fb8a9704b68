"""Failures of an inventory, a limit or a setting, met before any host is touched."""

from __future__ import annotations

from .base import Exit, SteelyardError


class InventoryMissing(SteelyardError):
    """The path given with -i, or by STEELYARD_INVENTORY, is not there."""

    sentence = "no inventory here{named}"
    fix = "name an inventory directory with `-i DIR`, or write one with `steelyard init {where!q}`"
    sample = {"where": "inventories/prod", "named": ", where STEELYARD_INVENTORY leads"}
    named: str = ""


class InventoryNotNamed(SteelyardError):
    """Neither -i nor STEELYARD_INVENTORY names one, and the folder `inventories` does not hold exactly one to take."""

    sentence = "no inventory is named, and {why}"
    fix = "pass `-i DIR` or set STEELYARD_INVENTORY; `steelyard init inventories/NAME` writes a new one"
    sample = {"where": "steelyard plan", "why": "there are several in `inventories`: prod, test"}
    why: str


class InventoryUnreadable(SteelyardError):
    """ansible-core could not read it."""

    sentence = "the inventory cannot be read: {why}"
    fix = "mend the file; `ansible-inventory -i {where!q} --list` shows the same error"
    sample = {"where": "inventories/prod", "why": "while parsing a block mapping, line 4, column 3"}
    why: str


class FileSyntaxWrong(SteelyardError):
    """A file that somebody wrote is not the YAML, JSON or INI that it should be; nothing was done with it."""

    sentence = "{mistake}, in column {column}: `{text}`"
    fix = "{mend}"
    sample = {
        "where": "models.yml:4",
        "mistake": "a tab indents this line",
        "column": "1",
        "text": "version: v2",
        "mend": "indent with spaces, no tabs",
    }
    mistake: str
    column: str
    text: str  # of the line; nothing of a secret
    mend: str


class PyinfraInventoryBroken(SteelyardError):
    """A pyinfra inventory is Python of the user's own, and does not run."""

    sentence = "the inventory does not run: {why}"
    fix = "mend that line: it is Python of your own"
    sample = {"where": "inventories/prod.py:3", "why": "NameError: name 'hots' is not defined"}
    why: str


class InventoryEmpty(SteelyardError):
    """The inventory is there and holds no host."""

    sentence = "the inventory holds no host"
    fix = "add hosts to {file}"
    sample = {"where": "inventories/prod", "file": "inventories/prod/hosts.yml"}
    exit = Exit.NO_HOST
    file: str


class LimitMatchedNoHost(SteelyardError):
    """A pattern that names nothing in this inventory, or names an empty group."""

    sentence = "the pattern `{pattern}` matches no host; groups here: {groups}"
    fix = "use a host, a group or an Ansible pattern that matches; `{nearest}` is the nearest name"
    sample = {"where": "--limit", "pattern": "gpus", "groups": "gpu, mirror", "nearest": "gpu"}
    exit = Exit.NO_HOST
    pattern: str
    groups: str
    nearest: str


class LimitFileWrong(SteelyardError):
    """A file of host patterns that cannot be read, or selects nobody."""

    sentence = "the file `{file}` {why}"
    fix = "write a host, a group or a pattern of this inventory on each line of it: `steelyard inventory` lists them"
    sample = {"where": "--limit", "file": "failed.txt", "why": "is empty"}
    exit = Exit.NO_HOST
    file: str
    why: str


class TargetUnknown(SteelyardError):
    """A name of which `logs` does not know whose journals it means."""

    sentence = "`{target}` is no alias, service, model or host of this inventory"
    fix = "name one of them; the nearest: {nearest}"
    sample = {"where": "steelyard logs", "target": "tinny", "nearest": "tiny"}
    exit = Exit.NO_HOST
    target: str
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


class ConnectionNotSupported(SteelyardError):
    """A variable of a host's connection that Ansible honours and we do not; only this host is concerned."""

    sentence = "`{key}` asks for {value}, which no connection here can do: {why}"
    fix = "reach {host} without: take it out of `{key}` there, or give the host a value of its own"
    sample = {
        "where": "hosts.yml:7",
        "key": "ansible_connection",
        "value": "`docker`",
        "why": "hosts are reached by SSH",
        "host": "gpu-2",
    }
    exit = Exit.HOST_FAILED
    key: str
    value: str
    why: str
    host: str


class SettingMissing(SteelyardError):
    """A key without a default that is not given."""

    sentence = "setting `{key}` is missing; it is {allowed}"
    fix = "add `{key}`"
    sample = {"where": "models.yml:4", "key": "models.llm/tiny.source", "allowed": "where the weights come from"}
    key: str
    allowed: str


class PlaceholdersLeft(SteelyardError):
    """Values that only the site's owner knows are not filled in yet."""

    sentence = "{count} values are still to be filled in, marked CHANGE-ME: {places}"
    fix = "`steelyard doctor -i {where!q}` lists each with the command that fills it in"
    sample = {"where": "inventories/prod", "count": "1", "places": "inventories/prod/hosts.yml:7 (ansible_host)"}
    count: str
    places: str


class SecretUnusable(SteelyardError):
    """A secret that is empty, a placeholder, or cannot be sent."""

    sentence = "`{key}` {why}"
    fix = "make one with `openssl rand -hex 24`, and write it as `ansible-vault encrypt_string` prints it"
    sample = {"where": "roles.yml:7", "key": "gateway.clients.dify", "why": "is empty"}
    key: str
    why: str


class SecretTwice(SteelyardError):
    """One key for two: nobody could tell who asked, and neither could be taken back alone."""

    sentence = "`{key}` is the same key as `{other}`"
    fix = "give each its own: `openssl rand -hex 24` makes one"
    sample = {"where": "roles.yml:8", "key": "gateway.clients.demo", "other": "gateway.clients.dify"}
    key: str
    other: str


class NameTaken(SteelyardError):
    """A variable with the name of a section of ours holds something else: the inventory was made for other tools
    too.
    """

    sentence = "`{name}` here is no section of steelyard: it holds {found}, as if it were another tool's"
    fix = "write ours as `steelyard_{name}`, or all of ours under one variable `steelyard`: then `{name}` is left alone"
    sample = {"where": "group_vars/all.yml:4", "name": "gateway", "found": "'10.4.0.1'"}
    name: str
    found: str


class NameWrong(SteelyardError):
    """A name that hosts cannot have in a path, a unit, a map or an environment."""

    sentence = "the name `{name}` in `{section}` can be none; allowed: {allowed}"
    fix = "rename `{name}`"
    sample = {
        "where": "models.yml:3",
        "section": "models",
        "name": "../tiny",
        "allowed": "parts of letters, digits, `.`, `_` and `-`",
    }
    section: str
    name: str
    allowed: str


class NamesMeet(SteelyardError):
    """Two names that differ where they are written, and are one where hosts have them."""

    sentence = "{second} meets {first}: {why}"
    fix = "{mend}"
    sample = {
        "where": "models.yml:9",
        "first": "alias `team.a` of `llm/a`",
        "second": "alias `team-a` of `llm/b`",
        "why": "both are service `team-a` on host `gpu-1`",
        "mend": "give `llm/b` another alias, which differs also with `-` for whatever is no letter or digit",
    }
    first: str
    second: str
    why: str
    mend: str


class PortTwice(SteelyardError):
    """Two services of one host declare one port."""

    sentence = "port `{port}` is declared for `{first}` and for `{second}` on host `{host}`"
    fix = "give one of them another `serve.port`"
    sample = {"where": "models.yml:9", "port": "8000", "first": "tiny", "second": "big", "host": "gpu-1"}
    port: str
    first: str
    second: str
    host: str


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
    fix = "{look}, then pass `--yes`"
    sample = {"where": "steelyard apply", "changes": "12", "look": "see them with `steelyard plan`"}
    changes: str
    look: str  # where what would be done can be seen


class DirectoryNotEmpty(SteelyardError):
    """`init` was pointed at a folder that holds files, or at what is no folder."""

    sentence = "it is no folder, or not empty; nothing was written"
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
