"""Dify on its host: what lies in which file, from the settings. The same for the release that runs and for one beside
it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pyinfra.context import host

from steelyard.api.settings import settings_from
from steelyard.api.template import render
from steelyard.dify.compose import (
    ComposeService,
    Override,
    compose_services,
    is_older_compose,
    needs_compose,
    override_text,
)
from steelyard.dify.environment import QUIET, needed_secrets, redis_url, secret_values, workers
from steelyard.dify.seed import read_seed
from steelyard.dify.source import TEMPLATE, release_files
from steelyard.errors import DifyArchiveWrong, DifySecretsMissing, SettingWrong
from steelyard.modules.facts.system import System
from steelyard.modules.operations.dify_stack import (
    CONFIG,
    OURS,
    digest,
    env_merged,
    env_staged,
    placed,
    project_file,
    seeded,
    stack_state,
    up,
)
from steelyard.modules.operations.package import installed
from steelyard.modules.operations.path import file, file_absent, folder, link
from steelyard.modules.operations.unit import loaded, running
from steelyard.roles.docker.settings import Settings as DockerSettings
from steelyard.roles.registry_mirror.settings import Settings as MirrorSettings
from steelyard.site.site import Site
from steelyard_host.dify.dotenv import texts

from .images import DATABASE, TOGETHER, pinned_images, profiles
from .settings import Release, Settings

TEMPLATES = Path(__file__).parent / "templates"
UNITS, PROJECT, POSTGRES = "/etc/systemd/system", "dify", "db_postgres"
POSTGRES_USER = "postgres"
# the Compose of distributions whose packages do not move; what others have is asked of the host
DISTRIBUTIONS = {("debian", "11"): "1.25.0", ("debian", "12"): "1.29.2", ("debian", "13"): "2.26.1"}
BACKUP, RECOVER = "steelyard-dify-backup", "steelyard-dify-recover"


@dataclass(frozen=True)
class DesiredStack:
    """A release with everything that is said of it: `environment` and `override` are the texts of their files."""

    settings: Settings
    release: Release
    files: dict[str, bytes]
    template: dict[str, str]
    running: tuple[ComposeService, ...]
    override: str


def wanted_release(wanted: Settings, release: Release, site: Site, mirror: MirrorSettings) -> DesiredStack:
    """Return the files of the declared release. Raises DifyArchiveWrong, DifySecretsMissing, DifyImagesMissing,
    SettingWrong, before anything is touched.
    """
    files = release_files(release.archive, release.sha256)
    template = texts(files[TEMPLATE].decode())
    chosen = profiles(wanted, template)
    _check(wanted, template, chosen)
    missing = [name for name in needed_secrets(template, chosen) if name not in wanted.secrets]
    if missing:
        raise DifySecretsMissing(where="dify.secrets", names=", ".join(missing))
    # with a PostgreSQL of your own the stack's never runs, and its image has the programs for backups
    runs = compose_services(files, (*chosen, *((DATABASE,) if wanted.postgres else ())))
    if wanted.postgres is None and POSTGRES not in {service.name for service in runs}:
        why = f"has no service {POSTGRES}; releases before 1.12 can only be registered in, not installed"
        raise DifyArchiveWrong(where="dify.release.archive", archive=release.archive, why=why)
    for section, names in (("resources", wanted.resources), ("images", wanted.images)):
        for name in names.keys() - {service.name for service in runs}:
            allowed = ", ".join(service.name for service in runs)
            raise SettingWrong(where=f"dify.{section}", key=name, found=name, allowed=allowed)
    images = {**pinned_images(release, runs, site, mirror), **wanted.images}
    limits = {name: {str(key): value for key, value in values.items()} for name, values in wanted.resources.items()}
    released = f"{release.version} {release.sha256[:16]} {_certificate_id(wanted)}"
    return DesiredStack(wanted, release, files, template, runs, override_text(runs, Override(images, limits, released)))


def _check(wanted: Settings, template: dict[str, str], chosen: tuple[str, ...]) -> None:
    """Refuse what would start and not work. Raises SettingWrong."""

    def wrong(key: str, found: str, allowed: str) -> SettingWrong:
        return SettingWrong(where="dify.env", key=key, found=found, allowed=allowed)

    kind = wanted.env.get("DB_TYPE", template.get("DB_TYPE", DATABASE))
    if kind != DATABASE:
        raise wrong("DB_TYPE", kind, f"`{DATABASE}`: backups, upgrades and the way back are PostgreSQL's alone")
    together = wanted.env.get("ENABLE_COLLABORATION_MODE", "").lower()
    if together and (together == "true") != (TOGETHER in chosen):
        allowed = "`dify.collaboration` in its place: a workflow's editor stays blocked where only half of it is on"
        raise wrong("ENABLE_COLLABORATION_MODE", together, allowed)
    if TOGETHER in chosen and wanted.proxy.name == "_" and "NEXT_PUBLIC_SOCKET_URL" not in wanted.env:
        allowed = "the name that browsers use: they open a socket at it, and the editor stays blocked without"
        raise SettingWrong(where="dify.proxy", key="name", found="_", allowed=allowed)


def _browsers(settings: Settings) -> str:
    """The address at which browsers reach `api_websocket`, past the same nginx."""
    proxy = settings.proxy
    tls = proxy.certificate is not None
    port = proxy.tls_port if tls else proxy.port
    shown = "" if port == (443 if tls else 80) else f":{port}"
    return f"{'wss' if tls else 'ws'}://{proxy.name.split()[0]}{shown}"


def _together(settings: Settings, template: dict[str, str]) -> dict[str, str]:
    """The keys of editing together: on where its service runs, else off. Releases before 1.14 have none."""
    if "ENABLE_COLLABORATION_MODE" not in template:
        return {}
    if TOGETHER not in profiles(settings, template):
        return {"ENABLE_COLLABORATION_MODE": "false"}
    return {"ENABLE_COLLABORATION_MODE": "true", "NEXT_PUBLIC_SOCKET_URL": _browsers(settings)}


def _certificate_id(wanted: Settings) -> str:
    chain = _certificate(wanted)
    return hashlib.sha256(chain).hexdigest()[:12] if chain else ""


def _certificate(wanted: Settings) -> bytes | None:
    """Return certificate and key. Raises SettingWrong."""
    path = wanted.proxy.certificate
    try:
        return Path(path).expanduser().read_bytes() if path else None
    except OSError as error:
        allowed = "a file on this machine that can be read"
        raise SettingWrong(where="dify.proxy", key="certificate", found=str(path), allowed=allowed) from error


def environment(wanted: DesiredStack, cores: int, memory: int, balances: bool) -> dict[str, str]:
    """Return our keys of `.env`: secrets, no calls home, sizes, addresses; and what the operator says over all."""
    settings, template = wanted.settings, wanted.template
    given = {name: secret.get_secret_value() for name, secret in settings.secrets.items()}
    outside, redis, proxy = settings.postgres, settings.redis, settings.proxy
    amount = settings.workers or workers(cores, memory)
    chosen = profiles(settings, template)
    variables = {
        **QUIET,
        **secret_values(given, template, chosen),
        **_together(settings, template),
        "SERVER_WORKER_AMOUNT": str(amount),
        "CELERY_WORKER_AMOUNT": str(2 * amount),
        "COMPOSE_PROFILES": ",".join(chosen),
        "EXPOSE_NGINX_PORT": str(proxy.port),
        "EXPOSE_NGINX_SSL_PORT": str(proxy.tls_port),
        "NGINX_SERVER_NAME": proxy.name,
        "NGINX_HTTPS_ENABLED": "true" if proxy.certificate else "false",
        "NGINX_CLIENT_MAX_BODY_SIZE": f"{proxy.upload_mib}M",
        "UPLOAD_FILE_SIZE_LIMIT": str(proxy.upload_mib),
        "NGINX_PROXY_READ_TIMEOUT": f"{proxy.timeout_s}s",
        "NGINX_PROXY_SEND_TIMEOUT": f"{proxy.timeout_s}s",
        "INTERNAL_FILES_URL": "http://api:5001",
        "SSRF_PROXY_ALLOW_PRIVATE_IPS": " ".join(settings.ssrf_allow),
        "MODEL_LB_ENABLED": "true" if balances else "false",
    }
    if outside is not None:
        variables |= {
            "DB_HOST": outside.host,
            "DB_PORT": str(outside.port),
            "DB_USERNAME": outside.user or POSTGRES_USER,
        }
    server = ("redis", 6379, "", False)
    if redis is not None:
        server = (redis.host, redis.port, redis.user or "", redis.tls)
        variables |= {
            "REDIS_HOST": redis.host,
            "REDIS_PORT": str(redis.port),
            "REDIS_USERNAME": redis.user or "",
            "REDIS_USE_SSL": str(redis.tls).lower(),
        }
    password = given.get("REDIS_PASSWORD", "")
    variables["CELERY_BROKER_URL"] = redis_url(password, 1, *server)
    if "DIFY_AGENT_REDIS_URL" in template:  # made of the password as it stands otherwise
        variables["DIFY_AGENT_REDIS_URL"] = redis_url(password, 2, *server)
    return {**variables, **settings.env}


def _balances(site: Site) -> bool:
    return any(model.dify is not None and model.dify.further for model in site.models.values())


def host_config(settings: Settings) -> str:
    """Return what the helper on the host must know; no secret is in it."""
    outside = settings.postgres
    return (
        json.dumps(
            {
                "folder": settings.folder,
                "project": PROJECT,
                "port": settings.proxy.port,
                "ready_s": settings.ready_s,
                "tls_port": settings.proxy.tls_port if settings.proxy.certificate else None,
                "databases": [
                    settings.env.get("DB_DATABASE", "dify"),
                    settings.env.get("DB_PLUGIN_DATABASE", "dify_plugin"),
                ],
                "postgres": {"host": outside.host, "port": outside.port, "user": outside.user or POSTGRES_USER}
                if outside
                else None,
                "backups": settings.backups.folder,
                "keep": settings.backups.keep,
                "prove_every": settings.backups.prove_every,
            },
            indent=1,
        )
        + "\n"
    )


def prepare(wanted: DesiredStack, at: str, staging: bool = False) -> dict[str, str]:
    """Files of the release, override, certificate and merged `.env` in folder `at`; paths to the hashes they must
    have.
    """
    current = stack_state(at)
    ours = (
        json.dumps(
            environment(wanted, current.cores, current.memory, _balances(host.data.site)),
            indent=1,
            sort_keys=True,
        )
        + "\n"
    )
    placed(name="Place the release", folder=at, version=wanted.release.version, files=wanted.files, staging=staging)
    file(name="Tell the helper of Dify", path=CONFIG, content=host_config(wanted.settings))
    file(name="Say our keys of .env", path=OURS, content=ours, mode="0600", secret=True)
    file(name="Override the compose file", path=f"{at}/docker-compose.override.yaml", content=wanted.override)
    made_from = {f"{at}/docker-compose.override.yaml": digest(wanted.override)}
    chain = _certificate(wanted.settings)
    key = wanted.settings.proxy.key
    if chain is not None and key is not None:
        project_file(name="Place the certificate", folder=at, name_below="nginx/ssl/dify.crt", content=chain)
        text = key.get_secret_value().encode()
        project_file(
            name="Place its key", folder=at, name_below="nginx/ssl/dify.key", content=text, mode="0600", secret=True
        )
    if staging:
        env_staged(name="Merge .env", folder=at, running=wanted.settings.folder)
    else:
        env_merged(name="Merge .env", folder=at, ours=digest(ours))
    return {**made_from, OURS: digest(ours)}


def install(wanted: DesiredStack) -> None:
    """The release that is declared, running."""
    settings = wanted.settings
    floor = settings.oldest_compose or needs_compose(wanted.release.version)
    _compose(floor)
    made_from = prepare(wanted, settings.folder)
    for name in (f"{BACKUP}.service", f"{RECOVER}.service"):
        text = (TEMPLATES / name.removeprefix("steelyard-")).read_text()
        file(name=f"Write {name}", path=f"{UNITS}/{name}", content=text)
    link(
        name="Recover after a cut upgrade",
        path=f"{UNITS}/multi-user.target.wants/{RECOVER}.service",
        target=f"{UNITS}/{RECOVER}.service",
    )
    for plugin in host.loop(settings.plugins):
        if plugin.cache is not None and plugin.cache_sha256 is not None:
            packed = read_seed(plugin.cache, plugin.cache_sha256)
            named = Path(plugin.package).name
            seeded(name="Seed a plugin's dependencies", folder=settings.folder, plugin=named, cache=packed)
    up(name="Run Dify", folder=settings.folder, made_from=made_from, compose=floor)
    folder(name="Make the folder of backups", path=settings.backups.folder, mode="0700")
    loaded(name="Load the backup's unit", unit=f"{BACKUP}.service", files=(f"{UNITS}/{BACKUP}.service",))
    timer = f"{UNITS}/{BACKUP}.timer"
    if settings.backups.at is None:
        file_absent(name="Make no backups by the clock", path=timer)
        return
    file(
        name="Say when backups are made",
        path=timer,
        content=render(TEMPLATES / "dify-backup.timer.j2", at=settings.backups.at),
    )
    running(name="Make backups by the clock", unit=f"{BACKUP}.timer", files=(timer,))


def _compose(needed: str) -> None:
    """Compose as a plugin of Docker's client. Raises SettingWrong where the distribution has none that is new
    enough.
    """
    system = host.get_fact(System)
    source = settings_from(DockerSettings, host.data).source
    if source != "distro":
        return  # Docker's own packages bring it
    has = DISTRIBUTIONS.get((system.distro, system.release.split(".")[0]))
    if has is not None and is_older_compose(has, needed):
        allowed = (
            f"`docker.source: docker`: {system.distro} {system.release} has Compose {has}, and the release asks for "
            f"{needed} (`dify.oldest_compose` overrules it)"
        )
        raise SettingWrong(where="docker.source", key="source", found="distro", allowed=allowed)
    package = "docker-compose-v2" if system.distro == "ubuntu" else "docker-compose"
    installed(name="Install Compose", packages=(package,))
