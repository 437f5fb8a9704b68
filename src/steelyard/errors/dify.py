"""Failures of Dify: its console, its plugins, the models in it, its backups."""

from __future__ import annotations

from .base import Exit, SteelyardError


class DifyUnreachable(SteelyardError):
    """Dify's console API gives no answer."""

    sentence = "Dify does not answer: {why}"
    fix = "check `dify.url` and that Dify runs; nothing was registered or changed there"
    sample = {"where": "http://dify.example/console/api", "why": "connection refused"}
    exit = Exit.HOST_FAILED
    why: str


class DifyLoginRefused(SteelyardError):
    """The e-mail or password is wrong. Tried once only: Dify locks the account after a few tries."""

    sentence = "Dify refused the login of `{email}`: {why}; tried once, not again"
    fix = (
        "put the right `dify.email` and `dify.password` into the vault; for CI, `dify.admin_key` and `dify.workspace` "
        "need no password"
    )
    sample = {
        "where": "http://dify.example/console/api",
        "email": "ops@example.org",
        "why": "Invalid email or password.",
    }
    exit = Exit.HOST_FAILED
    email: str
    why: str


class DifyPasswordRefusedBefore(SteelyardError):
    """The declared password is the one that Dify refused in an earlier run; it was not sent."""

    sentence = (
        "this password of `{email}` was refused at {at} and is not sent again: Dify locks an account for a day after "
        "six wrong ones"
    )
    fix = (
        "put the right `dify.email` and `dify.password` into the vault; where Dify has this one by now, "
        "`steelyard dify login` sends it once more"
    )
    sample = {
        "where": "http://dify.example/console/api",
        "email": "ops@example.org",
        "at": "2026-12-01 04:00:12 UTC",
    }
    exit = Exit.HOST_FAILED
    email: str
    at: str


class DifyAccountLocked(SteelyardError):
    """Dify takes no password of this account for a day, the right one neither: too many wrong ones came."""

    sentence = (
        "Dify has locked the account of `{email}` for a day, because too many wrong passwords came, and refuses the "
        'right one too ("{why}")'
    )
    fix = (
        "wait, or unlock it on Dify's host: `docker compose exec api flask reset-password`; find who sends a wrong "
        "one; `dify.admin_key` and `dify.workspace` work meanwhile, and are what CI should have"
    )
    sample = {
        "where": "http://dify.example/console/api",
        "email": "ops@example.org",
        "why": "Too many incorrect password attempts.",
    }
    exit = Exit.HOST_FAILED
    email: str
    why: str


class DifyAdminKeyRefused(SteelyardError):
    """Dify does not take the admin key, or not for this workspace."""

    sentence = 'Dify refused `dify.admin_key` for workspace `{workspace}` ("{why}")'
    fix = (
        "give the value of ADMIN_API_KEY in Dify's environment, where ADMIN_API_KEY_ENABLE must be true, and in "
        "`dify.workspace` the workspace's id"
    )
    sample = {
        "where": "http://dify.example/console/api",
        "workspace": "3f0c6a52-8a4e-4a57-9a39-0f6f2b8d7c11",
        "why": "Invalid token.",
    }
    exit = Exit.HOST_FAILED
    workspace: str
    why: str


class DifyRefused(SteelyardError):
    """Dify answered a request with an error of its own."""

    sentence = "Dify refused `{call}` with {status}: {why}"
    fix = "mend what Dify names; the model's endpoint must answer with the declared name and key"
    sample = {
        "where": "http://dify.example/console/api",
        "call": "POST models/credentials",
        "status": "400",
        "why": "Credentials validation failed",
        "code": "invalid_param",
    }
    exit = Exit.HOST_FAILED
    call: str
    status: str
    why: str
    code: str = ""  # Dify's own word for it, where it gave one


class DifyKeysFull(SteelyardError):
    """The workspace has as many keys for knowledge bases as Dify allows, so a check gets none of its own."""

    sentence = "the workspace has {most} API keys for knowledge bases, and Dify allows no more; a check needs one"
    fix = (
        "remove one that nobody uses: in Dify, Knowledge, Service API, API key; steelyard removes only keys that a "
        "check of its own made"
    )
    sample = {"where": "http://dify.example/console/api", "most": "10"}
    exit = Exit.HOST_FAILED
    most: str


class EndpointNotReady(SteelyardError):
    """The alias gives no token, so it is not registered."""

    sentence = "alias `{alias}` gives no token at `{endpoint}`: {why}"
    fix = "look at `steelyard status`; the model is registered when the alias answers"
    sample = {"where": "dify", "alias": "tiny", "endpoint": "http://gw:8080/v1", "why": "503 Service Unavailable"}
    exit = Exit.HOST_FAILED
    alias: str
    endpoint: str
    why: str


class DifyPluginMissing(SteelyardError):
    """The model provider plugin is not installed in Dify."""

    sentence = "Dify has no model provider `{provider}`"
    fix = "install the plugin `{provider}` in Dify, or name an installed one in `dify.provider`"
    sample = {
        "where": "http://dify.example/console/api",
        "provider": "langgenius/openai_api_compatible/openai_api_compatible",
    }
    exit = Exit.HOST_FAILED
    provider: str


class DifyTooOld(SteelyardError):
    """A Dify that does not know named credentials (before 1.8.0)."""

    sentence = "Dify {version} cannot keep models as declared: named credentials came with 1.8.0"
    fix = "upgrade it: `steelyard dify upgrade`, or by hand"
    sample = {"where": "http://dify.example/console/api", "version": "1.7.2"}
    exit = Exit.HOST_FAILED
    version: str


class DifyFieldWrong(SteelyardError):
    """A declared credential field that the provider's own form does not take; nothing was posted."""

    sentence = "model `{model}`: field `{field}` is {found}; allowed: {allowed}"
    fix = "correct `dify.credentials` of the model in models.yml; the form is the one of the provider that Dify has now"
    sample = {
        "where": "models.yml",
        "model": "tiny",
        "field": "mode",
        "found": "`chta`",
        "allowed": "chat, completion",
    }
    model: str
    field: str
    found: str
    allowed: str


class DifyModelUsed(SteelyardError):
    """A model shall go, and something in Dify still uses it; nothing was removed."""

    sentence = "model `{model}` is not declared any more and still used by {users}"
    fix = "give those another model first, or set `dify.remove_used: true`"
    sample = {"where": "http://dify.example/console/api", "model": "old-model", "users": "app `Support`, default llm"}
    exit = Exit.HOST_FAILED
    model: str
    users: str


class DifyPluginWrong(SteelyardError):
    """A declared plugin package that is not there, is another, or is none."""

    sentence = "plugin package `{package}` {why}"
    fix = "put the package there whose hash is declared in `dify.plugins`"
    sample = {"where": "dify.plugins", "package": "vllm.difypkg", "why": "has another hash: sha256 0b1c"}
    package: str
    why: str


class DifyPluginFailed(SteelyardError):
    """Dify's plugin daemon could not install a package."""

    sentence = "Dify could not install plugin `{plugin}`: {why}"
    fix = (
        "offline, its dependencies must be there, for the daemon's uv: `dify.plugins[].cache`; see `docker compose "
        "logs plugin_daemon`"
    )
    sample = {
        "where": "http://dify.example/console/api",
        "plugin": "langgenius/openai_api_compatible:0.0.63",
        "why": "failed",
    }
    exit = Exit.HOST_FAILED
    plugin: str
    why: str


class DifyPluginKept(SteelyardError):
    """Another version of a plugin could only come by an uninstall, and that would delete credentials of persons."""

    sentence = (
        "plugin `{plugin}` stays {live}: this Dify can put {version} there only by an uninstall, and that deletes "
        "{credentials}"
    )
    fix = (
        "declare {live} in `dify.plugins`, or bring Dify to a release that keeps them (1.17); or note those keys, "
        "delete them in Dify, apply, and enter them again"
    )
    sample = {
        "where": "http://dify.example/console/api",
        "plugin": "langgenius/openai",
        "live": "0.9.1",
        "version": "0.9.2",
        "credentials": "credential `team key` of langgenius/openai/openai",
    }
    exit = Exit.HOST_FAILED
    plugin: str
    live: str
    version: str
    credentials: str


class DifyLegacyTypes(SteelyardError):
    """Dify lists models without any credential: its database has the names that older releases gave to model types."""

    sentence = (
        "Dify lists {models} without a credential: its database still calls model types as releases up to 1.13 did, "
        "and a registration would make a second model of each"
    )
    fix = (
        "in Dify's folder: `docker compose exec api flask data-migrate legacy-model-types --apply`, after a backup; "
        "`steelyard dify upgrade` runs it"
    )
    sample = {"where": "http://dify.example/console/api", "models": "llm `qwen3-8b`, text-embedding `bge-m3`"}
    exit = Exit.HOST_FAILED
    models: str


class DifyUsersUnseen(SteelyardError):
    """A model shall go, and the login may not see everything that could use it; nothing was removed."""

    sentence = (
        "model `{model}` is not declared any more, and `{login}` ({role}) cannot see all that may use it: {unseen}"
    )
    fix = "give `dify.email` an owner of the workspace, or set `dify.remove_used: true`"
    sample = {
        "where": "http://dify.example/console/api",
        "model": "bge-m3",
        "login": "ops@example.org",
        "role": "admin",
        "unseen": "knowledge bases that other members keep to themselves",
    }
    exit = Exit.HOST_FAILED
    model: str
    login: str
    role: str
    unseen: str


class DifyVectorsChanged(SteelyardError):
    """Knowledge bases were indexed with another version of an embedding model than the one that would answer."""

    sentence = "alias `{alias}` would embed with `{version}`, and vectors of `{before}` are in {knowledge}"
    fix = (
        "in models.yml, `dify.vectors_as` of the model: `{version}: VERSION` with the version whose vectors are the "
        "same, or `{version}: {version}`, and index those knowledge bases again in Dify"
    )
    sample = {
        "where": "models.yml:7",
        "alias": "bge-m3",
        "version": "v2",
        "before": "v1",
        "knowledge": "2 knowledge bases: `Handbook`, `Tickets`",
    }
    exit = Exit.HOST_FAILED
    alias: str
    version: str
    before: str
    knowledge: str


class DifyArchiveWrong(SteelyardError):
    """The archive of a release that is not there, is another, or is none."""

    sentence = "Dify's archive `{archive}` {why}"
    fix = "give the source archive of the release and its own hash: `sha256sum FILE`"
    sample = {"where": "dify.release.archive", "archive": "dify-1.16.1.tar.gz", "why": "has another hash: sha256 0b1c"}
    archive: str
    why: str


class DifyImagesMissing(SteelyardError):
    """Images that the release runs and the list by digest does not name."""

    sentence = "the list of images does not name {images}"
    fix = (
        "add them by digest and carry them in: `steelyard dify images` names all, `steelyard mirror images "
        "sync` copies them"
    )
    sample = {"where": "dify.release.images", "images": "langgenius/dify-api:1.16.1, nginx:latest"}
    images: str


class DifySecretsMissing(SteelyardError):
    """Secrets of a release that would stay as everybody knows them."""

    sentence = "`dify.secrets` does not have {names}"
    fix = "`steelyard dify secrets` makes them and writes them encrypted into the inventory"
    sample = {"where": "dify.secrets", "names": "DB_PASSWORD, REDIS_PASSWORD"}
    names: str


class DifyHostRefused(SteelyardError):
    """The Dify host could not do what was asked; it says why."""

    sentence = "{why}"
    fix = "mend what it names; nothing else was changed"
    sample = {"where": "dify-1", "why": "no backup: the disk is full"}
    exit = Exit.HOST_FAILED
    why: str


class DifyUpgradeFailed(SteelyardError):
    """The new release did not come up; the old one was restored and answers."""

    sentence = "the upgrade from {old} to {new} failed, and {old} was restored: {why}"
    fix = "mend what it names, and try again; the backup made before it is `{archive}`"
    sample = {
        "where": "dify-1",
        "old": "1.16.1",
        "new": "1.17.1",
        "why": "api: unhealthy",
        "archive": "/var/backups/dify/x.tar.gz",
    }
    exit = Exit.ROLLED_BACK
    old: str
    new: str
    why: str
    archive: str


class DifySeedFailed(SteelyardError):
    """A plugin's dependencies that could not be fetched, or not be installed from what was fetched."""

    sentence = "the dependencies of `{package}` cannot be seeded: {why}"
    fix = (
        "run it where PyPI answers, for the Python and the uv of Dify's plugin daemon: `--python`, `--uv`; "
        "`docker compose exec plugin_daemon uv --version` tells its uv"
    )
    sample = {"where": "steelyard dify seed", "package": "vllm.difypkg", "why": "no interpreter found for Python 3.12"}
    package: str
    why: str
