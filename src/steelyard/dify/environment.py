"""The keys that our `.env` sets over the release's: secrets of this site instead of everybody's, no calls home, sizes
by the host.
"""

from __future__ import annotations

import base64
import re
import secrets
import string
from collections.abc import Mapping
from urllib.parse import quote

from steelyard_host.dify.secret_keys import SECRETS, STORES

ALWAYS = ("SECRET_KEY", "INIT_PASSWORD", "DB_PASSWORD", "REDIS_PASSWORD")
LETTERS = string.ascii_letters + string.digits
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


# what a secret may be made of: each goes where not every character can
_LINE = re.compile(r"[^\x00-\x1f\x7f]+")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=@:%!^*-]+")
_RULES = {
    **dict.fromkeys(("SECRET_KEY", "INIT_PASSWORD", "REDIS_PASSWORD"), (_LINE, "characters of one line")),
    # the plugin daemon gives it to PostgreSQL as one word of a line of words
    "DB_PASSWORD": (
        re.compile(r"(?!')[^\x00-\x20\x7f\\]+"),
        "characters without spaces and backslashes, no `'` first: Dify's plugin daemon cannot pass others on",
    ),
}
_TOKENS = (_TOKEN, "ASCII letters, digits and `._~+/=@:%!^*-`: it goes into headers, lists and commands")


def wrong_secret(name: str, value: str) -> str | None:
    """The characters that the secret of this name may have, where the value has others; None where it may be."""
    pattern, allowed = _RULES.get(name, _TOKENS)
    if not pattern.fullmatch(value):
        return allowed
    longest = LENGTHS.get(name)
    return f"at most {longest} characters" if longest is not None and len(value) > longest else None


def new_secrets(stores: tuple[str, ...] = ()) -> dict[str, str]:
    """Every one anew, and those of these vector stores."""
    names = [*SECRETS, *(name for store in stores for name in STORES.get(store, {}))]
    made = {name: "".join(secrets.choice(LETTERS) for _ in range(LENGTHS.get(name, 40))) for name in names}
    made["DIFY_AGENT_SERVER_SECRET_KEY"] = base64.urlsafe_b64encode(secrets.token_bytes(33)).decode()  # no padding
    if "OPENSEARCH_PASSWORD" in made:
        made["OPENSEARCH_PASSWORD"] += "-aA1"  # it wants one of each kind
    if "OPENGAUSS_PASSWORD" in made:
        made["OPENGAUSS_PASSWORD"] = made["OPENGAUSS_PASSWORD"][:27] + "-aA1"  # that too, and takes 32 at most
    return made


def _keys(template: Mapping[str, str], profiles: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The keys that each secret is written to: those that the release knows, and those of the stores that run."""
    of_release = {
        name: tuple(key for key in keys if key in template or name in ALWAYS) for name, keys in SECRETS.items()
    }
    of_stores = {name: keys for store in profiles for name, keys in STORES.get(store, {}).items()}
    return {name: keys for name, keys in {**of_release, **of_stores}.items() if keys}


def needed_secrets(template: Mapping[str, str], profiles: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names of those that a release with this template and these Compose profiles has a use for."""
    return tuple(_keys(template, profiles))


def secret_values(
    given: Mapping[str, str], template: Mapping[str, str], profiles: tuple[str, ...] = ()
) -> dict[str, str]:
    """Text by key, for the keys that the release knows and those of the stores that run."""
    keys = _keys(template, profiles)
    return {key: given[name] for name in keys if name in given for key in keys[name]}


def redis_url(
    password: str, database: int, host: str = "redis", port: int = 6379, user: str = "", tls: bool = False
) -> str:
    """The address of a database of Redis, as Celery and Dify's agents want it."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"{'rediss' if tls else 'redis'}://{login}@{host}:{port}/{database}"


def workers(cores: int, memory: int) -> int:
    """API processes that a host of so many cores and bytes carries: one for two cores and four GiB, at most eight."""
    return max(1, min(cores // 2, memory // (4 * GIB), 8))
