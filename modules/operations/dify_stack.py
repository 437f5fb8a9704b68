"""Dify's Compose stack on its host: the release's files unmodified, its `.env` merged, its containers as declared."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Generator, Mapping
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.change import Change
from steelyard.host_helper import RUN_HELPER
from steelyard.modules.facts.helper import HelperAnswer
from steelyard.modules.facts.path import Path
from steelyard.refusal import Refusal
from steelyard.unknowns import declare_unknown

CONFIG, OURS = "/etc/steelyard/dify.json", "/etc/steelyard/dify.env"
UV_CACHE = "volumes/plugin_daemon/cwd/.uv-cache"
ABSENT: dict[str, Any] = {
    "version": None, "changed": [], "env": {"differs": [], "unknown": [], "renamed": {}, "unsafe": []}, "unready": {},
    "open": [], "keyless": [], "cores": 1, "memory": 0, "error": "",
}  # fmt: skip


def stack_state(folder: str) -> dict[str, Any]:
    """What the host's helper says of a folder; as if nothing were there, where it does not know Dify yet."""
    return host.get_fact(HelperAnswer, words=("dify-state", folder)) or ABSENT


def packed(files: Mapping[str, bytes]) -> bytes:
    """The files as a tar archive; scripts stay executable."""
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, content in sorted(files.items()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
                archive.addfile(entry, io.BytesIO(content))
        return stream.getvalue()


@operation()
def placed(folder: str, version: str, files: dict[str, bytes], staging: bool = False) -> Generator[StringCommand, None, None]:
    """Every file of the release as its archive has it. Another release that runs there is not replaced: that is an upgrade."""
    now = stack_state(folder)
    if now["version"] not in (None, version) and not staging:
        yield Refusal(
            f"Dify {now['version']} runs and {version} is declared: `steelyard dify upgrade` moves it, with a way back"
        )
        return
    wanted = now["changed"] if now["version"] == version else sorted(files)
    if not wanted:
        host.noop(f"{folder} holds Dify {version} as released")
        return
    live = f"changed: {', '.join(wanted[:5])}" if now["version"] == version else now["version"] or "missing"
    at = QuoteString(folder)
    content = base64.encodebytes(packed({name: files[name] for name in wanted})).decode()
    what = {"subject": folder, "declared": f"the files of Dify {version}", "live": live}
    unpack = ["install -d -m 0755", at, "&& base64 -d | tar -x --no-same-owner --unlink-first -C", at]
    yield Change(*unpack, **what, _stdin=content)
    if now["version"] != version:
        record = [RUN_HELPER, "dify-record", at, QuoteString(version), ">/dev/null"]
        yield Change(*record, **{**what, "declared": "their hashes written down"}, _stdin="\n".join(sorted(files)))


@operation()
def env_staged(folder: str, running: str) -> Generator[StringCommand, None, None]:
    """`.env` of a release that is staged: what a human set in the running one's moves along."""
    kept = [QuoteString(f"{running}/{name}") for name in (".env", ".env.merged-last")]
    merge = ["cp -p", *kept, QuoteString(folder), "&&", RUN_HELPER, "dify-env", QuoteString(folder), ">/dev/null"]
    yield Change(*merge, subject=f"{folder}/.env", declared="merged key by key", live=f"of {running}, as it is now")


@operation()
def env_merged(folder: str, ours: str) -> Generator[StringCommand, None, None]:
    """`.env` is the release's, what a human set, and `ours` (the sha256 of what we say) over both. Values are never told."""
    now, said = stack_state(folder), host.get_fact(Path, path=OURS)
    differs = now["env"]["differs"]
    if not differs and said.sha256 == ours and now["version"] is not None:
        host.noop("its .env is as declared")
        return
    shown = ", ".join(differs[:8]) + (f" and {len(differs) - 8} more" if len(differs) > 8 else "")
    live = f"differs in {shown}" if shown else "not merged yet"
    merge = [RUN_HELPER, "dify-env", QuoteString(folder), ">/dev/null"]
    yield Change(*merge, subject=f"{folder}/.env", declared="merged key by key", live=live)


@operation()
def seeded(folder: str, plugin: str, cache: bytes) -> Generator[StringCommand, None, None]:
    """A plugin's dependencies are in the cache that Dify's daemon installs from; what else is in it stays."""
    mark = f"{folder}/{UV_CACHE}/.steelyard-{hashlib.sha256(cache).hexdigest()[:16]}"
    if host.get_fact(Path, path=mark).kind == "file":
        host.noop(f"the dependencies of {plugin} are there")
        return
    at = QuoteString(f"{folder}/{UV_CACHE}")
    unpack = ["install -d", at, "&& base64 -d | tar -xz --no-same-owner -C", at, "&& touch", QuoteString(mark)]
    what = {"subject": f"dependencies of {plugin}", "declared": "in the daemon's cache", "live": "not seeded"}
    yield Change(*unpack, **what, _stdin=base64.encodebytes(cache).decode())


@operation()
def up(folder: str, made_from: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Every container is made from what is declared, runs and is healthy, and Dify answers. `made_from`: path to sha256."""
    now = stack_state(folder)
    stale = sorted(path for path, wanted in made_from.items() if host.get_fact(Path, path=path).sha256 != wanted)
    wrong = {**dict.fromkeys(stale, "another content"), **now["unready"]}
    if now["version"] is None:
        wrong = {"Dify": "not started"}
    if not wrong and not now["env"]["differs"] and not now["error"]:
        host.noop("Dify runs as declared")
        return
    if now["error"]:
        declare_unknown("which containers change", now["error"], "the apply")
    live = ", ".join(f"{name}: {why}" for name, why in sorted(wrong.items())) or "its .env changes"
    command = [RUN_HELPER, "dify-up", ">/dev/null"]
    yield Change(*command, subject="Dify", declared="every container as declared, healthy", live=live)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
