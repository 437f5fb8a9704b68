"""The keys that our `.env` sets over the release's: secrets of this site instead of everybody's, no calls home, sizes
by the host.
"""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Mapping

# secret by its name in `dify.secrets` to the keys that must hold it; those that a release does not know are left out
SECRETS: dict[str, tuple[str, ...]] = {
    "SECRET_KEY": ("SECRET_KEY",),
    "INIT_PASSWORD": ("INIT_PASSWORD",),
    "DB_PASSWORD": ("DB_PASSWORD",),
    "REDIS_PASSWORD": ("REDIS_PASSWORD",),
    "SANDBOX_API_KEY": ("SANDBOX_API_KEY", "CODE_EXECUTION_API_KEY"),
    "PLUGIN_DAEMON_KEY": ("PLUGIN_DAEMON_KEY",),
    "PLUGIN_DIFY_INNER_API_KEY": ("PLUGIN_DIFY_INNER_API_KEY", "INNER_API_KEY_FOR_PLUGIN"),
    "WEAVIATE_API_KEY": ("WEAVIATE_API_KEY", "WEAVIATE_AUTHENTICATION_APIKEY_ALLOWED_KEYS"),
    "DIFY_AGENT_API_TOKEN": ("DIFY_AGENT_API_TOKEN",),
    "DIFY_AGENT_SERVER_SECRET_KEY": ("DIFY_AGENT_SERVER_SECRET_KEY",),
    "DIFY_AGENT_AUTH_TOKEN": ("DIFY_AGENT_SHELLCTL_AUTH_TOKEN", "DIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN"),
}
ALWAYS = ("SECRET_KEY", "INIT_PASSWORD", "DB_PASSWORD", "REDIS_PASSWORD")
LETTERS = string.ascii_letters + string.digits  # the Redis password becomes part of a URL
LENGTHS = {"INIT_PASSWORD": 30}  # Dify takes no longer one
QUIET = {
    "DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "CHECK_UPDATE_URL": "",
    "MARKETPLACE_ENABLED": "false",
    "NEXT_TELEMETRY_DISABLED": "1",
    "WEAVIATE_DISABLE_TELEMETRY": "true",
    "CREATORS_PLATFORM_FEATURES_ENABLED": "false",
    "PIP_MIRROR_AUTO_DETECT": "false",  # this and a mirror of yours would make uv pass by a seeded cache
    "PIP_MIRROR_URL": "",
    "API_SENTRY_DSN": "",
    "WEB_SENTRY_DSN": "",
    "PLUGIN_SENTRY_DSN": "",
    "AMPLITUDE_API_KEY": "",
    "WEAVIATE_AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
    "DEBUG": "false",
    "FLASK_DEBUG": "false",
    "EXPOSE_PLUGIN_DEBUGGING_HOST": "localhost",
    "FORCE_VERIFYING_SIGNATURE": "true",
    "COMPOSE_PROJECT_NAME": "dify",
}
GIB = 2**30


def new_secrets() -> dict[str, str]:
    """Every one anew."""
    made = {name: "".join(secrets.choice(LETTERS) for _ in range(LENGTHS.get(name, 40))) for name in SECRETS}
    made["DIFY_AGENT_SERVER_SECRET_KEY"] = base64.urlsafe_b64encode(secrets.token_bytes(33)).decode()  # no padding
    return made


def needed_secrets(template: Mapping[str, str]) -> tuple[str, ...]:
    """Names of those that a release with this template has a use for."""
    return tuple(name for name, keys in SECRETS.items() if name in ALWAYS or any(key in template for key in keys))


def secret_values(given: Mapping[str, str], template: Mapping[str, str]) -> dict[str, str]:
    """Key to value, for the keys that the release knows."""
    values = {}
    for name in needed_secrets(template):
        for key in SECRETS[name]:
            if name in given and (key in template or name in ALWAYS):
                values[key] = given[name]
    return values


def broker_url(password: str, host: str = "redis", port: int = 6379, user: str = "", tls: bool = False) -> str:
    """The address of Redis as Celery wants it."""
    return f"{'rediss' if tls else 'redis'}://{user}:{password}@{host}:{port}/1"


def workers(cores: int, memory: int) -> int:
    """API processes that a host of so many cores and bytes carries: one for two cores and four GiB, at most eight."""
    return max(1, min(cores // 2, memory // (4 * GIB), 8))
