"""The registry that wheels come from, which is never one of ours.

It is the one that uv is configured with on this machine, else the one that pip is.

uv does not read pip's configuration, and pip's find-links, indexes and constraints are where a site says where its
packages are. So what `pip config list` says is handed to uv as environment, where it has none of its own. Passwords in
an index's address go the same way, never into an argument, and are given to that host alone when a wheel is fetched.
"""

from __future__ import annotations

import ast
import base64
import netrc
import os
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard.errors import UsageWrong
from steelyard.models.sources.redirects import open_url
from steelyard.models.sources.web import SILENT_S

# each of them says that somebody has configured uv's indexes
UV_OWN = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE")
ADDRESSES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
SECTIONS = ("global", "download", ":env:")  # of pip's configuration; later ones win


@dataclass(frozen=True)
class Index:
    """`environment` is uv's; `logins` are user and password by host. Neither is ever shown."""

    environment: Mapping[str, str] = field(repr=False)
    logins: Mapping[str, tuple[str, str]] = field(repr=False)

    def open(self, request: urllib.request.Request) -> Any:
        """The answer to a request, with its host's login and the certificates that are configured. Raises OSError."""
        host = urllib.parse.urlsplit(request.full_url).netloc
        login = self.logins.get(host) or _netrc_login(host.rsplit(":", 1)[0])
        if login is not None:
            word = base64.b64encode(":".join(login).encode()).decode()
            # urllib hands an unredirected header to nobody else
            request.add_unredirected_header("Authorization", f"Basic {word}")
        handlers: list[urllib.request.BaseHandler] = []
        if request.type == "https":
            handlers.append(urllib.request.HTTPSHandler(context=self._tls(host)))
        return open_url(request, SILENT_S, *handlers)

    def masked(self, text: str) -> str:
        """Text without the passwords of indexes."""
        for _, password in self.logins.values():
            text = text.replace(password, "****") if password else text
        return text

    def _tls(self, host: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.environment.get("SSL_CERT_FILE"))
        if host in self.environment.get("UV_INSECURE_HOST", "").split():
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def index_of(further: tuple[str, ...] = ()) -> Index:
    """The configured registry, and `further` indexes beside it (`--index`). Raises UsageWrong."""
    for address in further:
        _require_address(address)
    given = uv_environment(os.environ, pip_settings(), further, _uv_is_configured())
    logins = {}
    for name in ADDRESSES:
        for address in given.get(name, "").split():
            parts = urllib.parse.urlsplit(address.rsplit("=", 1)[-1] if "://" not in address.split("=")[0] else address)
            if parts.username is not None:
                host = parts.netloc.rsplit("@", 1)[1]
                logins[host] = (urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
    return Index(given, logins)


def _require_address(address: str) -> None:
    """uv passes over in silence what it cannot ask. Raises UsageWrong."""
    why = None
    try:
        parts = urllib.parse.urlsplit(address)
        parts.port  # noqa: B018  raises where it is none
        if parts.password:
            why = "an address with a password can be read by everybody here; ~/.netrc is for passwords"
        elif parts.scheme == "file" and not Path(urllib.request.url2pathname(parts.path)).is_dir():
            why = f"--index {address}: there is no such folder"
        elif parts.scheme != "file" and (parts.scheme not in ("http", "https") or not parts.hostname or " " in address):
            why = f"--index {address or '(nothing)'}: an index is an address as https://HOST/simple/, or file:///FOLDER"
    except ValueError as error:
        why = f"--index is no address: {error}"
    if why is not None:
        raise UsageWrong(where="steelyard wheels", why=why)


def _uv_is_configured() -> bool:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return any(path.is_file() for path in (home / "uv/uv.toml", Path("/etc/uv/uv.toml"), Path("/etc/xdg/uv/uv.toml")))


def pip_settings() -> dict[str, str]:
    """Keys of pip's configuration, without their section, to values; empty where this environment has no pip."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(argv, capture_output=True, text=True)
    return parse_pip_settings(done.stdout) if done.returncode == 0 else _from_environment()


def _from_environment() -> dict[str, str]:
    return {
        key[4:].lower().replace("_", "-"): value
        for key, value in os.environ.items()
        if key.startswith("PIP_") and value
    }


def parse_pip_settings(text: str) -> dict[str, str]:
    """Lines as `global.index-url='https://...'`; of a key that several sections have, the narrowest one's."""
    settings: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in text.splitlines():
        name, _, written = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in settings:
            try:
                settings[section][key] = str(ast.literal_eval(written))
            except (SyntaxError, ValueError):
                continue
    return {key: value for section in SECTIONS for key, value in settings[section].items()}


def uv_environment(
    environment: Mapping[str, str], pip: Mapping[str, str], further: tuple[str, ...], configured: bool
) -> dict[str, str]:
    """uv's environment: its own where it is configured, pip's settings in its words where it is not, and `further`
    indexes.

    pip takes the best version that any of its indexes has; uv, left alone, would stop at the first index that knows the
    name.
    """
    given = dict(environment)
    if "cert" in pip:
        given.setdefault("SSL_CERT_FILE", pip["cert"])
    if not configured and not any(given.get(name) for name in UV_OWN):
        variables = {
            "index-url": "UV_DEFAULT_INDEX",
            "extra-index-url": "UV_INDEX",
            "trusted-host": "UV_INSECURE_HOST",
            "constraint": "UV_CONSTRAINT",
        }
        given |= {name: " ".join(pip[key].split()) for key, name in variables.items() if pip.get(key)}
        if pip.get("find-links"):
            given["UV_FIND_LINKS"] = ",".join(pip["find-links"].split())
        if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
            given["UV_NO_INDEX"] = "1"
        given.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if further:
        given["UV_INDEX"] = " ".join([*further, *given.get("UV_INDEX", "").split()])
        given["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return given


def _netrc_login(host: str) -> tuple[str, str] | None:
    try:
        known = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return (known[0], known[2]) if known else None
