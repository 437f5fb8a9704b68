"""Dify's Compose stack on its host: the release's files unmodified, its `.env` merged, its containers as declared."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Generator, Mapping

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from steelyard.api.change import Change, Effect, Reason, Refusal
from steelyard.api.unknown import declare_unknown
from steelyard.artifacts.helper import RUN_HELPER
from steelyard.dify.compose import is_older_compose
from steelyard.modules.facts.helper import helper_fact
from steelyard.modules.facts.path import Path
from steelyard.modules.operations.path import shown
from steelyard_host.paths import DIFY_CONFIG, DIFY_ENV
from steelyard_host.wire.dify import EnvChanges, StackState

CONFIG, OURS = DIFY_CONFIG, DIFY_ENV
UV_CACHE = "volumes/plugin_daemon/cwd/.uv-cache"
ABSENT = StackState(
    version=None, changed=(), env=EnvChanges(), unready={}, open=(), keyless=(), cores=1, memory=0, error=""
)


def stack_state(folder: str) -> StackState:
    """The state of the stack in a folder; as if nothing were there, where it does not know Dify yet."""
    return helper_fact(host, StackState, "dify-state", folder) or ABSENT


def packed(files: Mapping[str, bytes], mode: int | None = None) -> bytes:
    """The files as a tar archive; without a mode for all of them, scripts stay executable."""
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, content in sorted(files.items()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), mode or (0o755 if name.endswith(".sh") else 0o644)
                archive.addfile(entry, io.BytesIO(content))
        return stream.getvalue()


def place_bits(folder: str, *words: str) -> list[str | QuoteString]:
    """The command that lays an archive, which comes as base64, into the project's folder.

    Containers write in folders of it, and may leave a link on the way: `tar` and `cat >` would follow it as root.
    """
    return ["base64 -d |", RUN_HELPER, "dify-place", QuoteString(folder), *map(QuoteString, words), ">/dev/null"]


@operation()
def placed(
    folder: str, version: str, files: dict[str, bytes], staging: bool = False
) -> Generator[StringCommand, None, None]:
    """Every file of the release is as its archive has it.

    Another release that runs there is not replaced: that is an upgrade.
    """
    stack = stack_state(folder)
    if stack.version not in (None, version) and not staging:
        yield Refusal(
            f"Dify {stack.version} runs and {version} is declared: `steelyard dify upgrade` moves it, with a way back"
        )
        return
    names = list(stack.changed) if stack.version == version else sorted(files)
    if not names:
        host.noop(f"{folder} holds Dify {version} as released")
        return
    live = f"changed: {', '.join(names[:5])}" if stack.version == version else stack.version or "missing"
    at = QuoteString(folder)
    content = base64.encodebytes(packed({name: files[name] for name in names})).decode()
    what: Reason = {"subject": folder, "declared": f"the files of Dify {version}", "live": live}
    yield Change(*place_bits(folder), **what, _stdin=content)
    if stack.version != version:
        record = [RUN_HELPER, "dify-record", at, QuoteString(version), ">/dev/null"]
        yield Change(
            *record, subject=folder, declared="their hashes written down", live=live, _stdin="\n".join(sorted(files))
        )


@operation()
def project_file(
    folder: str, name_below: str, content: bytes, mode: str = "0644", secret: bool = False
) -> Generator[StringCommand, None, None]:
    """A file of ours, in a folder that a container may write, holds this content; a link in its place goes."""
    path = f"{folder}/{name_below}"
    current = host.get_fact(Path, path=path)
    is_file = current.kind == "file" and current.sha256 == hashlib.sha256(content).hexdigest()
    if is_file and (current.user, current.group, current.mode) == ("root", "root", mode):
        host.noop(f"{path} is as declared")
        return
    declared = "secret content" if secret else f"content, root:root {mode}"
    live = "another content" if current.kind == "file" and not is_file else shown(current)
    archive = base64.encodebytes(packed({name_below: content}, int(mode, 8))).decode()
    yield Change(*place_bits(folder), subject=path, declared=declared, live=live, _stdin=archive)


@operation()
def env_staged(folder: str, running: str) -> Generator[StringCommand, None, None]:
    """The `.env` of a release that is staged has what a human set in the running one's."""
    carried = [QuoteString(f"{running}/{name}") for name in (".env", ".env.merged-last")]
    merge = ["cp -p", *carried, QuoteString(folder), "&&", RUN_HELPER, "dify-env", QuoteString(folder), ">/dev/null"]
    yield Change(*merge, subject=f"{folder}/.env", declared="merged key by key", live=f"of {running}, as it is now")


@operation()
def env_merged(folder: str, ours: str) -> Generator[StringCommand, None, None]:
    """The `.env` is the release's, what a human set, and `ours` (the sha256 of what we say) over both.

    Values are never told.
    """
    stack, written = stack_state(folder), host.get_fact(Path, path=OURS)
    differs = stack.env.differs
    if not differs and written.sha256 == ours and stack.version is not None:
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
    unpack = place_bits(folder, UV_CACHE, "--mark", mark.rsplit("/", 1)[1])
    what: Reason = {"subject": f"dependencies of {plugin}", "declared": "in the daemon's cache", "live": "not seeded"}
    yield Change(*unpack, **what, _stdin=base64.encodebytes(cache).decode())


@operation()
def up(folder: str, made_from: dict[str, str], compose: str) -> Generator[StringCommand, None, None]:
    """Every container is made from what is declared, runs and is healthy, and Dify answers.

    `made_from`: path to sha256; `compose`: the oldest Compose that the files are for.
    """
    stack = stack_state(folder)
    if stack.compose and is_older_compose(stack.compose, compose):
        yield Refusal(
            f"Docker Compose {stack.compose} is older than {compose}, which this release's files need: "
            "`docker.source: docker` installs Docker's own, which is newer"
        )
        return
    stale = sorted(path for path, wanted in made_from.items() if host.get_fact(Path, path=path).sha256 != wanted)
    wrong = {**dict.fromkeys(stale, "another content"), **stack.unready}
    if stack.version is None:
        wrong = {"Dify": "not started"}
    if not wrong and not stack.env.differs and not stack.error:
        host.noop("Dify runs as declared")
        return
    if stack.error:
        declare_unknown("which containers change", stack.error, "the apply")
    live = ", ".join(f"{name}: {why}" for name, why in sorted(wrong.items())) or "its .env changes"
    command = [RUN_HELPER, "dify-up", ">/dev/null"]
    what: Reason = {"subject": "Dify", "declared": "every container as declared, healthy", "live": live}
    if stack.version is not None and (stale or stack.env.differs):  # containers that run are made anew
        yield Change(*command, **what, effect=Effect.RESTART, outage_s=None)
    else:
        yield Change(*command, **what)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
