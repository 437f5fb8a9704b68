"""Dify's `.env`, merged key by key: the release's template, what a human set, and what is declared; told without
values.

A key's value is the declared one; else the one a human set (it differs from the template that was merged last); else
the template's. Keys that the release does not know stay at the end and are told; renamed ones move.
"""

from __future__ import annotations

import json
from pathlib import Path

from steelyard_host import paths
from steelyard_host.system import json_file
from steelyard_host.wire.dify import EnvChanges

LIVE, TEMPLATE, MERGED = ".env", ".env.example", ".env.merged-last"
OURS = Path(paths.DIFY_ENV)
# old key to new one; None: another meaning, so the value does not move
RENAMED = {
    "EDITION": None,
    "DIFY_AGENT_SHELLCTL_AUTH_TOKEN": "DIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN",
    "DIFY_AGENT_SHELLCTL_URL": "DIFY_AGENT_LOCAL_SANDBOX_URL",
}
# what every copy of a release has alike, and so everybody knows
SECRETS = (
    "SECRET_KEY",
    "INIT_PASSWORD",
    "DB_PASSWORD",
    "REDIS_PASSWORD",
    "SANDBOX_API_KEY",
    "CODE_EXECUTION_API_KEY",
    "PLUGIN_DAEMON_KEY",
    "PLUGIN_DIFY_INNER_API_KEY",
    "INNER_API_KEY_FOR_PLUGIN",
    "WEAVIATE_API_KEY",
    "WEAVIATE_AUTHENTICATION_APIKEY_ALLOWED_KEYS",
    "DIFY_AGENT_API_TOKEN",
    "DIFY_AGENT_SERVER_SECRET_KEY",
    "DIFY_AGENT_SHELLCTL_AUTH_TOKEN",
    "DIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN",
)
OLD_SECRETS = ("sk-9f73s3ljTXVcMT3Blb3ljTqtsKiGHXVcMT3BlbkFJLK7U", "difyai123456", "dify-sandbox")
FLAGS = {"WEAVIATE_AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "true", "DEBUG": "true", "FLASK_DEBUG": "true"}


def parsed(text: str) -> dict[str, str]:
    """Values of KEY=VALUE lines, by key; quotes as they stand."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def quoted(value: str) -> str:
    """A value as Compose reads it: plain where nothing in it is special."""
    if all(letter.isalnum() or letter in "-_./:@,+=%${}" for letter in value) or value[:1] in "'\"":
        return value
    return "'%s'" % value.replace("'", "'\\''")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def merged(folder: Path) -> tuple[str, EnvChanges]:
    """The text that shall be, and which keys it changes."""
    template = _read(folder / TEMPLATE)
    known, live, before = parsed(template), parsed(_read(folder / LIVE)), parsed(_read(folder / MERGED))
    ours = {key: quoted(value) for key, value in (json.loads(_read(OURS)) if OURS.exists() else {}).items()}
    # a human's: not what the template said, and not what we declared then
    human = {key: value for key, value in live.items() if key not in ours and before.get(key) != value}
    renamed = {
        old: new for old, new in RENAMED.items() if old in live and old not in known and (new is None or new in known)
    }
    for old, new in renamed.items():
        if new is not None and old in human and new not in ours:
            human.setdefault(new, human[old])
    values = {**known, **{key: value for key, value in human.items() if key in known}, **ours}
    strange = {key: value for key, value in human.items() if key not in known and key not in renamed}
    lines = []
    for line in template.splitlines():
        key = line.split("=", 1)[0].strip() if "=" in line and not line.lstrip().startswith("#") else None
        lines.append(line if key is None else "%s=%s" % (key, values[key]))
    more = [key for key in ours if key not in known]
    lines += ["", "# steelyard: keys that the template does not have"] if more or strange else []
    lines += ["%s=%s" % (key, values[key]) for key in more] + ["%s=%s" % (key, strange[key]) for key in strange]
    target = {**values, **strange}
    changes = EnvChanges(
        differs=tuple(sorted(key for key in target.keys() | live.keys() if target.get(key) != live.get(key))),
        unknown=tuple(sorted(strange)),
        renamed={old: new or "" for old, new in renamed.items()},
        unsafe=tuple(unsafe(live, known)),
    )
    return "\n".join(lines) + "\n", changes


def unsafe(live: dict[str, str], template: dict[str, str]) -> list[str]:
    """Keys that stand as every copy of the release has them, or worse."""
    if not live:
        return []
    known = {key for key in SECRETS if key in template and live.get(key, "") == template[key]}
    known |= {key for key in SECRETS if live.get(key) in OLD_SECRETS}
    return sorted(known | {key for key, value in FLAGS.items() if live.get(key, "").lower() == value})


def write(folder: Path) -> EnvChanges:
    """Puts the merged text in place by rename, readable by root only; which keys it changed."""
    text, changes = merged(folder)
    json_file.write_atomically(folder / LIVE, text, mode=0o600)
    json_file.write_atomically(folder / MERGED, _read(folder / TEMPLATE), mode=0o600)
    return changes
