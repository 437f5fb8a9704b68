"""Packages of plugins: what names one, what its manifest says, and what an upload holds. None is ever unpacked."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from typing import Any

from .credential_forms import PROVIDERS
from .json_object import JsonObject

LANGUAGES = ("en_US", "zh_Hans", "pt_BR", "ja_JP")
EMPTY = ("repo", "tool", "endpoint", "agent_strategy", "datasource", "trigger")
PARTS = ("tools", "endpoints", "datasources", "triggers")  # null, as the daemon writes a list that no YAML has
# a recorded upload has no content, only `<483437 bytes: openai-0.9.1.difypkg>`
RECORDED = re.compile(r"<\d+ bytes: (?:.*/)?(.+?)(?:-(\d+\.\d+\.\d+))?\.difypkg>")


class NoPackage(Exception):
    """An upload that is no package of a plugin the double knows."""


def identifier(provider: str, version: str | None = None) -> str:
    """Return `author/name:version@checksum` of a package that has no content: the checksum is of its name."""
    known = PROVIDERS[provider]
    named = "%s:%s" % (known["plugin"], version or known["version"])
    return "%s@%s" % (named, hashlib.sha256(named.encode()).hexdigest())


def provider_of(unique: str) -> str:
    """Return the provider that the plugin of this identifier brings."""
    return next(name for name, known in PROVIDERS.items() if unique.startswith(known["plugin"] + ":"))


def version_of(unique: str) -> str:
    """Return the version in an identifier."""
    return unique.split(":")[1].split("@")[0]


def read_upload(sent: Any) -> str:
    """Return the identifier of what was uploaded. A real package says itself what it is. Raises NoPackage."""
    if isinstance(sent, str):
        recorded = RECORDED.fullmatch(sent)
        names = [known for known in PROVIDERS if recorded and known.endswith("/" + recorded[1])]
        if not recorded or not names:
            raise NoPackage
        return identifier(names[0], recorded[2])
    try:
        with zipfile.ZipFile(io.BytesIO(sent["content"])) as archive:
            text = archive.read("manifest.yaml").decode()
        fields = dict(re.findall(r"^(author|name|version):\s*['\"]?([^'\"\s]+)", text, re.M))
        plugin, version = "%s/%s" % (fields["author"], fields["name"]), fields["version"]
    except (zipfile.BadZipFile, KeyError, TypeError, UnicodeDecodeError) as error:
        raise NoPackage from error
    if not any(known["plugin"] == plugin for known in PROVIDERS.values()):
        raise NoPackage
    return "%s:%s@%s" % (plugin, version, hashlib.sha256(sent["content"]).hexdigest())


def manifest(unique: str) -> JsonObject:
    """Return the manifest of a package as the API shows it."""
    known = PROVIDERS[provider_of(unique)]
    author, name = known["plugin"].split("/")
    label = dict.fromkeys(LANGUAGES, known["plugin_label"])
    return {
        "version": version_of(unique),
        "author": author,
        "name": name,
        "description": label,
        "icon": known["icon"],
        "icon_dark": "",
        "label": label,
        "category": "model",
        "created_at": "2024-07-12T08:03:44.658609Z",
        "resource": {},
        "plugins": {"models": ["provider/%s.yaml" % name], **dict.fromkeys(PARTS)},
        "tags": [],
        "verified": False,
        "model": {},
        "meta": {"minimum_dify_version": None, "version": known["plugin_meta"]},
        **dict.fromkeys(EMPTY),
    }
