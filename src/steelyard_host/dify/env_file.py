"""Dify's `.env`, merged key by key: the release's template, what a human set, and what is declared; told without
values.

A key's value is the declared one; else the one a human set (it differs from what was merged last, without a human);
else the template's. Keys that the release knows without having them in its template (in the optional files below
`envs/`, or in its compose file) stay at the end, and so do those that it does not know, which are told; renamed ones
move.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from steelyard_host import paths
from steelyard_host.dify import dotenv
from steelyard_host.dify.secret_keys import unsafe_keys
from steelyard_host.dify.stack import DifyError
from steelyard_host.system import json_file
from steelyard_host.wire.dify import EnvChanges

LIVE, TEMPLATE, MERGED, COMPOSE = ".env", ".env.example", ".env.merged-last", "docker-compose.yaml"
OPTIONAL = "envs"
OURS = Path(paths.DIFY_ENV)
# old key to new one; None: another meaning, so the value does not move. Source: the files of 1.12.1 to August 2026
RENAMED = {
    "EDITION": None,
    "DIFY_AGENT_SHELLCTL_AUTH_TOKEN": "DIFY_AGENT_LOCAL_SANDBOX_AUTH_TOKEN",
    "DIFY_AGENT_SHELLCTL_ENTRYPOINT": "DIFY_AGENT_LOCAL_SANDBOX_ENDPOINT",
    "AGENT_BACKEND_RUN_TIMEOUT_SECONDS": "DIFY_AGENT_RUN_TIMEOUT_SECONDS",
    "VIKINGDB_SCHEMA": "VIKINGDB_SCHEME",
}
_OPTIONAL_KEY = re.compile(r"^(?:#\s*)?(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=", re.M)
_COMPOSE_KEY = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _parsed(path: Path) -> dict[str, str | None]:
    """Raw values of a file. Raises DifyError that names it."""
    try:
        return dotenv.entries(_read(path))
    except dotenv.DotenvError as error:
        raise DifyError("%s cannot be read as Compose reads it: %s" % (path, error)) from error


def live_texts(folder: Path) -> dict[str, str]:
    """The texts that containers are given, by key. Raises DifyError."""
    _parsed(folder / LIVE)
    return dotenv.texts(_read(folder / LIVE))


def optional_keys(folder: Path) -> set[str]:
    """Keys that the release's containers read although its template does not have them."""
    texts = [_read(path) for path in sorted((folder / OPTIONAL).rglob("*.env.example"))]
    return {key for text in texts for key in _OPTIONAL_KEY.findall(text)} | set(
        _COMPOSE_KEY.findall(_read(folder / COMPOSE))
    )


def merged(folder: Path) -> tuple[str, EnvChanges]:
    """The text that shall be, and which keys it changes. Raises DifyError where one of the files cannot be read."""
    template = _template(folder)
    known, live, before = (_parsed(folder / name) for name in (TEMPLATE, LIVE, MERGED))
    ours = _declared()
    elsewhere = optional_keys(folder)
    # a human's: neither what the template said nor what was declared when it was merged last
    human = {
        key: raw
        for key, raw in live.items()
        if key not in ours and (key not in before or dotenv.canonical(before[key]) != dotenv.canonical(raw))
    }
    renamed = {
        old: new
        for old, new in RENAMED.items()
        if old in live and old not in known and old not in elsewhere
        if new is None or new in known or new in elsewhere
    }
    for old, new in renamed.items():
        if new is not None and old in human and new not in ours:
            human.setdefault(new, human[old])
    values = {**known, **{key: raw for key, raw in human.items() if key in known}, **ours}
    strange = {key: raw for key, raw in human.items() if key not in known and key not in renamed}
    more = {**{key: ours[key] for key in ours if key not in known}, **strange}
    target = {**values, **strange}
    changes = EnvChanges(
        differs=tuple(sorted(key for key in target.keys() | live.keys() if _differs(key, target, live))),
        unknown=tuple(sorted(strange.keys() - elsewhere)),
        renamed={old: new or "" for old, new in renamed.items()},
        unsafe=tuple(unsafe_keys(live_texts(folder), dotenv.texts(template))),
    )
    return _filled(template, values, more), changes


def _template(folder: Path) -> str:
    return _read(folder / TEMPLATE).replace("\r\n", "\n")


def _declared() -> dict[str, str | None]:
    """Raw values of what is declared, by key."""
    said: dict[str, str] = json.loads(_read(OURS)) if OURS.exists() else {}
    return {key: dotenv.quoted(value) for key, value in said.items()}


def _differs(key: str, target: dict[str, str | None], live: dict[str, str | None]) -> bool:
    if (key in target) != (key in live):
        return True
    return dotenv.canonical(target[key]) != dotenv.canonical(live[key])


def _line(key: str, raw: str | None) -> str:
    return "%s\n" % key if raw is None else "%s=%s\n" % (key, raw)


def _filled(template: str, values: dict[str, str | None], more: dict[str, str | None]) -> str:
    """The template with these values in it, and further keys after it; its comments stay."""
    parts, at = [], 0
    for statement in dotenv.statements(template):
        parts += [template[at : statement.begin], _line(statement.key, values[statement.key])[:-1]]
        at = statement.end
    text = ("".join(parts) + template[at:]).rstrip("\n") + "\n"
    if more:
        text += "\n# steelyard: keys that the template does not have\n"
    return text + "".join(_line(key, raw) for key, raw in more.items())


def write(folder: Path) -> EnvChanges:
    """Puts the merged text in place by rename, readable by root only; which keys it changed."""
    text, changes = merged(folder)
    known, ours = _parsed(folder / TEMPLATE), _declared()
    without_a_human = _filled(_template(folder), {**known, **ours}, {key: ours[key] for key in ours.keys() - known})
    json_file.write_atomically(folder / LIVE, text, mode=0o600)
    json_file.write_atomically(folder / MERGED, without_a_human, mode=0o600)
    return changes
