"""Plugins as Dify has them: which declared packages it lacks, and how one becomes the plugin that it has.

Neither credentials nor the version before are lost on the way. Dify's uninstall deletes the credentials that persons
put into a provider's own form. So another version takes the place of the one that is there (`upgrade`): it keeps them,
leaves no gap, and leaves the old one where the new one fails. Daemons before 0.6.6 upgrade only what came in the same
way, and what came as a package in none: so a first install says that it came from the manifest's repository. That
changes nothing about what is installed (the file is uploaded, its signature is checked, nothing is fetched), and each
later version is an upgrade.

Where the daemon refuses that, an uninstall is left. It comes after the new version was installed beside the old one,
which the daemon takes as a trial: it prepares and starts it, and leaves the old one installed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import DifyPluginFailed, DifyPluginKept, DifyPluginWrong, DifyRefused, SteelyardError

from .client import DifyClient
from .http import UploadFile
from .plugin_package import Package, read_package
from .provider_credentials import provider_credentials

PLUGIN = "/workspaces/current/plugin"
POLL_S, PATIENCE_S = 2.0, 900.0  # the daemon itself gives up after ten minutes
GITHUB = "github"  # the source of an installation that can be upgraded by any daemon
NOT_HERE = ("404", "405")  # a release without the route


@dataclass(frozen=True)
class Installation:
    """A plugin that Dify has. `unique` is `author/name:version@checksum`; `source` the way in which it came."""

    id: str
    unique: str
    version: str
    source: str


@dataclass(frozen=True)
class PluginDifference:
    """A plugin that is missing, of another version or from another package; `installed` is what is to be replaced."""

    package: Package
    live: str
    installed: Installation | None


def plugin_differences(
    client: DifyClient, packages: tuple[Package, ...], known_marks: Mapping[str, str]
) -> list[PluginDifference]:
    """Declared packages that Dify does not have in this version, or has from another package of it; one read.

    `known_marks` are the marks of what was installed: Dify tells a package's checksum by a rule of its own, so hashes
    are held against ours; a plugin that somebody else installed in this version is taken as it is.
    """
    if not packages:
        return []
    live = installations(client, [package.plugin for package in packages])
    differences = []
    for package in packages:
        there = live.get(package.plugin)
        if there is None:
            differences.append(PluginDifference(package, "not installed", None))
        elif there.version != package.version:
            differences.append(PluginDifference(package, there.version, there))
        elif known_marks.get(package.mark, package.sha256) != package.sha256:
            differences.append(PluginDifference(package, f"{package.version} from another package", there))
    return differences


def installations(client: DifyClient, plugins: list[str]) -> dict[str, Installation]:
    """Return what Dify has of these plugins, by plugin; one read."""
    answer = client.look_up(f"{PLUGIN}/list/installations/ids", {"plugin_ids": plugins})
    return {
        entry["plugin_id"]: Installation(
            entry["id"], entry["plugin_unique_identifier"], entry["version"], str(entry.get("source", ""))
        )
        for entry in answer["plugins"]
    }


def install(client: DifyClient, difference: PluginDifference) -> None:
    """Upload the package, and make it the installed one. Raises DifyPluginWrong, DifyPluginFailed, DifyPluginKept and
    the client's errors; the version before stays where the new one cannot be installed.
    """
    package = difference.package
    read_package(package.path, package.sha256)  # it may have been replaced since the plan
    unique = _upload(client, package.path)
    there = _installed(client, package)
    try:
        if there is None:
            _install(client, package, unique)
        elif there.unique != unique and not _upgraded(client, package, there, unique):
            _replace(client, package, there, unique)
    except DifyPluginFailed as error:
        raise _with_state(client, package, error) from error
    _require_installed(client, package, unique)


def _upload(client: DifyClient, path: str) -> str:
    """The identifier that Dify gives a package: `author/name:version@checksum`."""
    body = {"pkg": UploadFile(Path(path).name, Path(path).read_bytes())}
    return str(client.send("POST", f"{PLUGIN}/upload/pkg", body)["unique_identifier"])


def _installed(client: DifyClient, package: Package) -> Installation | None:
    return installations(client, [package.plugin]).get(package.plugin)


def _origin(package: Package) -> dict[str, str]:
    return {
        "repo": package.repo or package.plugin,
        "version": package.version,
        "package": f"{package.plugin.split('/')[-1]}.difypkg",
    }


def _install(client: DifyClient, package: Package, unique: str) -> None:
    """Install what was uploaded, where no version is; beside another one it is a trial that changes nothing."""
    try:
        body = {"plugin_unique_identifier": unique, **_origin(package)}
        started = client.send("POST", f"{PLUGIN}/install/github", body)
    except DifyRefused as refused:
        if refused.status not in NOT_HERE:
            raise
        started = client.send("POST", f"{PLUGIN}/install/pkg", {"plugin_unique_identifiers": [unique]})
    _wait(client, unique, started)


def _upgraded(client: DifyClient, package: Package, there: Installation, unique: str) -> bool:
    """True where the new version took the old one's place; False where this daemon does not do that."""
    body = {
        "original_plugin_unique_identifier": there.unique,
        "new_plugin_unique_identifier": unique,
        **_origin(package),
    }
    try:
        started = client.send("POST", f"{PLUGIN}/upgrade/github", body)
    except DifyRefused as refused:
        # the daemon's "no installation that came this way" is Dify's internal error
        if refused.status in (*NOT_HERE, "500"):
            return False
        raise
    _wait(client, unique, started)
    return True


def _replace(client: DifyClient, package: Package, there: Installation, unique: str) -> None:
    """Uninstall and install, with everything that can be known before it known before it."""
    keeps = client.preserves_credentials()
    at_stake = [] if keeps else provider_credentials(client, package.plugin)
    if at_stake:
        raise DifyPluginKept(
            where=client.where,
            plugin=package.plugin,
            live=there.version,
            version=package.version,
            credentials=", ".join(at_stake),
        )
    _install(client, package, unique)
    live = _installed(client, package)
    if live is not None and live.unique == unique:
        return
    body: dict[str, object] = {"plugin_installation_id": there.id}
    client.send("POST", f"{PLUGIN}/uninstall", {**body, "preserve_credentials": True} if keeps else body)
    try:
        _install(client, package, _upload(client, package.path))
    except (DifyRefused, DifyPluginFailed) as error:
        why = error.why
        try:
            _put_back(client, package, there)
        except (DifyRefused, DifyPluginFailed, DifyPluginWrong, OSError):
            pass  # the state is read afterwards, and told
        raise DifyPluginFailed(where=client.where, plugin=_name(unique), why=why) from error


def _put_back(client: DifyClient, package: Package, before: Installation) -> None:
    """Install the version before again: the daemon may have it still, or its package lies beside the new one's."""
    old = Package(package.path, "", package.plugin, before.version, package.repo)
    try:
        _install(client, old, before.unique)
        return
    except SteelyardError:
        pass  # forgotten by the daemon, as 0.6.3 does with an uninstall
    for path in sorted(Path(package.path).parent.glob("*.difypkg")):
        try:
            known = read_package(str(path), None)
        except DifyPluginWrong:
            continue
        if (known.plugin, known.version) == (package.plugin, before.version):
            unique = _upload(client, str(path))
            if unique == before.unique:
                _install(client, known, unique)
                return


def _wait(client: DifyClient, unique: str, started: dict[str, object]) -> None:
    """Wait for a terminal state through the console: that read drops Dify's cached list of providers."""
    if started.get("all_installed"):
        return
    end = time.monotonic() + PATIENCE_S
    while True:
        task = client.get(f"{PLUGIN}/tasks/{started['task_id']}")["task"]
        if task["status"] == "success":
            return
        messages = "; ".join(plugin["message"] for plugin in task["plugins"] if plugin.get("message"))
        if task["status"] == "failed" or time.monotonic() > end:
            why = messages or f"still {task['status']} after {PATIENCE_S:.0f} s"
            raise DifyPluginFailed(where=client.where, plugin=_name(unique), why=why[:400])
        time.sleep(POLL_S)


def _require_installed(client: DifyClient, package: Package, unique: str) -> None:
    """The daemon says `installed` of a second version too, and keeps the first: what counts is what is there."""
    live = _installed(client, package)
    if live is None or live.unique != unique:
        why = "its daemon says that it is installed, and it is not"
        error = DifyPluginFailed(where=client.where, plugin=_name(unique), why=why)
        raise _with_state(client, package, error)


def _with_state(client: DifyClient, package: Package, error: DifyPluginFailed) -> DifyPluginFailed:
    """The same error with what Dify has of the plugin now, as far as it says so."""
    try:
        live = _installed(client, package)
    except SteelyardError:
        state = "what it has now cannot be read"
    else:
        state = f"it has {live.version}" if live else "it has no version of it now"
    return DifyPluginFailed(where=error.where, plugin=error.plugin, why=f"{error.why}; {state}")


def _name(unique: str) -> str:
    return unique.split("@")[0]
