"""Failures of weights, as the controller sees them."""

from __future__ import annotations

from .base import Exit, SteelyardError


class ModelUnknown(SteelyardError):
    """A command names a model that models.yml does not declare."""

    sentence = "there is no model `{model}`; declared: {allowed}"
    fix = "did you mean `{nearest}`?"
    sample = {"where": "inventories/lab", "model": "llm/tyni", "nearest": "llm/tiny", "allowed": "llm/tiny"}
    model: str
    nearest: str
    allowed: str


class SourceMissing(SteelyardError):
    """The folder a model is declared to come from is not there."""

    sentence = "the source of model `{model}` is not there: {source}"
    fix = "put the files there, or change `source`"
    sample = {"where": "models.yml:5", "model": "llm/tiny", "source": "/srv/weights/tiny"}
    model: str
    source: str


class CopyUnproven(SteelyardError):
    """A host has a version whose source is not here, and nothing here tells its files from somebody else's."""

    sentence = "model `{model}`: its source is not here, and the copy of {version} on {host} is unproven: {why}"
    fix = (
        "bring its source ({source}) here, or sign the version (`steelyard models sign`) and let hosts trust the key: "
        "`model_store.trusted_keys`"
    )
    sample = {
        "where": "gpu-1",
        "model": "llm/tiny",
        "version": "v2",
        "host": "gpu-1",
        "why": "this machine never read the source, and no key is trusted",
        "source": "/srv/weights/tiny",
    }
    model: str
    version: str
    host: str
    why: str
    source: str


class SourceAltered(SteelyardError):
    """The files on this machine are not those that were fetched; each use compares them with the source's hashes."""

    sentence = "model `{model}`: file `{file}` in {folder} is no longer what was fetched from {source}"
    fix = (
        "fetch it anew with `steelyard models add {model} VERSION --source {source}`; hosts that serve the "
        "version go on"
    )
    sample = {
        "where": "models.yml",
        "model": "llm/tiny",
        "file": "model.safetensors",
        "folder": "~/.cache/steelyard/sources/5f0c/files",
        "source": "https://models.example/tiny/#sha256=9f86d08",
    }
    model: str
    file: str
    folder: str
    source: str


class SourceRefused(SteelyardError):
    """A source that may not be served: pickle weights, broken safetensors, a link out of the folder."""

    sentence = "model `{model}`: file `{file}` is refused: {why}"
    fix = (
        "give plain files that an engine reads: safetensors, JSON, tokenizers; `models add --convert` makes "
        "safetensors of pickles"
    )
    sample = {"where": "/srv/weights/tiny", "model": "llm/tiny", "file": "model.bin", "why": "pickle weights"}
    model: str
    file: str
    why: str


class SourceWrong(SteelyardError):
    """A source that is none of the kinds there are."""

    sentence = "`{source}` is no source of a model"
    fix = (
        "give file:///folder, hf://ORG/NAME@REVISION, modelscope://ORG/NAME@REVISION, s3://BUCKET/PREFIX, "
        "https://HOST/FILE.tar "
        "(.tar.gz, .zip) or https://HOST/FOLDER/ with a SHA256SUMS"
    )
    sample = {"where": "--source", "source": "Qwen3-8B"}
    source: str


class HubUnreachable(SteelyardError):
    """Neither the Hub nor a mirror of it gives an answer."""

    sentence = "no Hub answers: {why}"
    fix = "check the way out, or name a mirror: HF_ENDPOINT, or `hf_mirrors` in the inventory"
    sample = {"where": "hf://Qwen/Qwen3-8B@main", "why": "the Hub: connection refused; http://mirror.example: HTTP 502"}
    why: str


class HubRefused(SteelyardError):
    """The Hub answers, and not with the files."""

    sentence = "the Hub refuses it: {why}"
    fix = "check name and revision; for a gated repository ask for access and put `hf_token` into the vault"
    sample = {"where": "hf://meta/private@main", "why": "the repository is gated, and no token was given"}
    why: str


class DownloadFailed(SteelyardError):
    """A source gives no answer, or not its files."""

    sentence = "the source cannot be fetched: {why}"
    fix = "check address, way out and permission, and run the same command again: what came is not fetched twice"
    sample = {"where": "https://models.example/x.tar", "why": "HTTP 404 Not Found"}
    why: str


class LibraryMissing(SteelyardError):
    """A kind of source needs a library that is installed only where it is asked for."""

    sentence = "the library {library} is not installed"
    fix = "`pip install 'steelyard[{extra}]'`"
    sample = {"where": "s3://models/x", "library": "boto3", "extra": "s3"}
    library: str
    extra: str


class SignatureNotMade(SteelyardError):
    """ssh-keygen did not sign."""

    sentence = "the version was not signed: {why}"
    fix = "give the file of an SSH key with `--key`; a public key's file where an agent has the private half"
    sample = {"where": "/root/.ssh/id_ed25519", "why": "No such file or directory"}
    why: str


class SignatureWrong(SteelyardError):
    """The site trusts versions signed by its keys only, and this one is not."""

    sentence = "model `{model}` version `{version}`: {why}"
    fix = (
        "`steelyard models sign {model} --key FILE` with a key of `model_store.trusted_keys`, and declare what "
        "it prints"
    )
    sample = {
        "where": "models.yml",
        "model": "llm/tiny",
        "version": "v1",
        "why": "it is not signed, and the site trusts signed versions only",
    }
    model: str
    version: str
    why: str


class VersionNotHere(SteelyardError):
    """A version that no host which answered holds."""

    sentence = "model `{model}` has no version `{version}` on the hosts asked; there: {found}"
    fix = "name one of those, or push it first: `steelyard models push {model}`"
    sample = {"where": "inventories/lab", "model": "llm/tiny", "version": "v9", "found": "v1, v2"}
    model: str
    version: str
    found: str


class HashLibraryMissing(SteelyardError):
    """Hosts verify weights with blake3, and there is none for their Python."""

    sentence = "no blake3 {version} for Python {python} on {machine}: {why}"
    fix = "let pip reach its index once, or put the library out of its wheel at {kept}"
    sample = {
        "where": "pip",
        "version": "1.0.11",
        "python": "3.13",
        "machine": "x86_64",
        "why": "No matching distribution found for blake3==1.0.11",
        "kept": "~/.cache/steelyard/native/blake3-1.0.11-cp313-x86_64.so",
    }
    version: str
    python: str
    machine: str
    why: str
    kept: str


class PushFailed(SteelyardError):
    """A host is out of a push; the others go on."""

    sentence = "{why}"
    fix = "mend it and push again: what the host holds by now is not sent again"
    sample = {"where": "gpu-2", "why": "its helper ended, or the link to it did"}
    exit = Exit.HOST_FAILED
    why: str


class HelperRefused(SteelyardError):
    """The helper on a host was asked for something, and could not do it."""

    sentence = "{why} (`{command}`)"
    fix = "mend what it names on the host, and run the same command again"
    sample = {
        "where": "gpu-2",
        "command": "store-verify",
        "why": "llm/x v1 lies on /mnt/weights/x, which is not ours to mend",
    }
    exit = Exit.HOST_FAILED
    command: str
    why: str


class HelperUnreadable(SteelyardError):
    """The helper on a host answers, and not as this release of steelyard reads it: the two are too far apart."""

    sentence = "the helper's answer to `{command}` cannot be read: {why}"
    fix = "bring its helper to this release: `steelyard apply --deploy serve -l {where!q}`"
    sample = {
        "where": "gpu-2",
        "command": "switch-state",
        "why": "`switch.state`: str 'paused' is none of trying, serving, confirmed, undoing, undone",
    }
    exit = Exit.HOST_FAILED
    command: str
    why: str
