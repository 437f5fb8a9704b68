"""Another version of a plugin, in each of the ways that servers know: what persons put into its form stays, and so does
the version before where the new one cannot be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dify_world import OPENAI, PLUGIN, World, a_world, package, writes

from dify_double import plugins
from dify_double.credential_forms import PROVIDERS
from steelyard.dify.client import DifyClient
from steelyard.dify.plugins import install, plugin_differences
from steelyard.errors import DifyPluginFailed, DifyPluginKept, DifyRefused

OPENAI_PLUGIN = PROVIDERS[OPENAI]["plugin"]
FAILS = "failed to launch plugin: uv sync: exit status 2"
Note = Callable[[str, object], None]

# what brought the first version, the release, the daemon, and how the second one comes
WAYS = {
    "ours": ("ours", "1.16.1", "", "upgrade/github"),
    "a package, an older daemon": ("package", "1.16.1", "", ""),
    "a package, daemon 0.6.6": ("package", "1.16.1", "0.6.6", "upgrade/github"),
    "a package, 1.17 with an older daemon": ("package", "1.17.1", "0.6.3", "uninstall"),
    "a package, 1.17": ("package", "1.17.1", "", "upgrade/github"),
    "an old release, ours": ("ours", "1.9.2", "", "upgrade/github"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "INSTALL_S", 0.05)
    monkeypatch.setattr("steelyard.dify.plugins.POLL_S", 0.02)


def bring(world: World, folder: Path, version: str, plugin: str = OPENAI_PLUGIN) -> list[str]:
    """Install what is declared, as the role does; what was not as declared."""
    client = world.client()
    found = plugin_differences(client, (package(folder, version, plugin),), {})
    for difference in found:
        install(client, difference)
    return [difference.live for difference in found]


@contextmanager
def with_a_key(tmp_path: Path, brought: str, release: str, daemon: str) -> Iterator[World]:
    """A Dify with a plugin 0.9.1 and a key that somebody put into its form."""
    with a_world(tmp_path, release=release, daemon=daemon) as world:
        if brought == "ours":
            bring(world, tmp_path, "0.9.1")
        else:
            world.by_console(package(tmp_path, "0.9.1", OPENAI_PLUGIN))
        world.team_key(OPENAI)
        yield world


def key_of(world: World) -> str:
    shown = world.client().get(f"/workspaces/current/model-providers/{OPENAI}/credentials")
    return str(shown["credentials"].get("openai_api_key", "gone"))


def version_of(world: World, plugin: str = OPENAI_PLUGIN) -> str:
    there = world.console.state["plugins"].get(plugin)
    return there["unique"].split(":")[1].split("@")[0] if there else "none"


@pytest.mark.parametrize(("brought", "release", "daemon", "by"), WAYS.values(), ids=list(WAYS))
def test_another_version_keeps_what_persons_put_into_the_form_or_does_not_come(
    tmp_path: Path, brought: str, release: str, daemon: str, by: str, record_property: Note
) -> None:
    with with_a_key(tmp_path, brought, release, daemon) as world:
        world.requests.clear()
        before = key_of(world)
        if by:
            assert bring(world, tmp_path, "0.9.2") == ["0.9.1"]
            assert version_of(world) == "0.9.2"
            assert [line for line in writes(world.requests) if line.endswith(f"/plugin/{by}")]
            assert bring(world, tmp_path, "0.9.2") == []
        else:
            told = "stays 0.9.1: .*deletes credential `team key` of langgenius/openai/openai"
            with pytest.raises(DifyPluginKept, match=told):
                bring(world, tmp_path, "0.9.2")
            assert version_of(world) == "0.9.1"
            assert not [line for line in writes(world.requests) if line.endswith("/uninstall")]
        record_property("human_data_lost", int(key_of(world) != before))
        assert key_of(world) == before != "gone"


@pytest.mark.parametrize(("brought", "release", "daemon"), [way[:3] for way in WAYS.values()], ids=list(WAYS))
def test_a_version_that_cannot_be_installed_leaves_the_one_before_with_its_keys(
    tmp_path: Path, brought: str, release: str, daemon: str, record_property: Note
) -> None:
    with with_a_key(tmp_path, brought, release, daemon) as world:
        before = key_of(world)
        world.console.state["install_fails"] = FAILS
        with pytest.raises((DifyPluginFailed, DifyPluginKept)) as caught:
            bring(world, tmp_path, "0.9.2")
        if isinstance(caught.value, DifyPluginFailed):
            assert f"{FAILS}; it has 0.9.1" in str(caught.value)
        assert version_of(world) == "0.9.1"
        record_property("human_data_lost", int(key_of(world) != before))
        assert key_of(world) == before != "gone"


def test_without_a_key_an_older_daemon_tries_the_new_version_before_the_old_one_goes(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.converge(world.client(), world.model())
        assert bring(world, tmp_path, "0.0.64", PLUGIN) == ["0.0.63"]
        assert version_of(world, PLUGIN) == "0.0.64"
        calls = [line.rsplit("/plugin/", 1)[1] for line in writes(world.requests) if "/plugin/" in line]
        tried = calls.index("install/github")
        assert tried < calls.index("uninstall")
        assert world.converge(world.client(), world.model()) == []
        assert bring(world, tmp_path, "0.0.65", PLUGIN) == ["0.0.64"]  # it came by us, so it is upgraded now
        assert writes(world.requests)[-1].endswith("/upgrade/github")


class FailsAfterUninstall(DifyClient):
    """A Dify whose installs fail from an uninstall on: all of them, or the first so many."""

    failing, gone = 99, False

    def bind(self, world: World, failing: int) -> FailsAfterUninstall:
        self.world, self.failing = world, failing
        return self

    def send(self, method: str, path: str, body: Any) -> Any:
        if self.gone and "/install/" in path:
            self.world.console.state["install_fails"] = FAILS if self.failing > 0 else None
            self.failing -= 1
        self.gone = self.gone or path.endswith("/plugin/uninstall")
        return super().send(method, path, body)


@pytest.mark.parametrize(("failing", "left"), [(1, "0.0.63"), (99, "none")])
def test_where_an_install_fails_after_all_the_old_version_is_put_back_or_its_absence_told(
    tmp_path: Path, failing: int, left: str
) -> None:
    with a_world(tmp_path) as world:
        world.console.state["plugins"].clear()
        world.by_console(package(tmp_path))
        client = FailsAfterUninstall(world.client().access).bind(world, failing)
        (difference,) = plugin_differences(client, (package(tmp_path, "0.0.64"),), {})
        told = "it has 0.0.63" if left != "none" else "it has no version of it now"
        with pytest.raises(DifyPluginFailed, match=f"uv sync.*; {told}"):
            install(client, difference)
        assert version_of(world, PLUGIN) == left


def test_installed_that_changes_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a daemon says of a second version beside the first one."""
    with a_world(tmp_path) as world:
        monkeypatch.setattr("dify_double.plugins.Plugins._installed", lambda *_: None)
        world.console.state["plugins"].clear()
        with pytest.raises(DifyPluginFailed, match="says that it is installed, and it is not; it has no version"):
            bring(world, tmp_path, "0.0.64", PLUGIN)


def test_a_refusal_of_the_daemon_is_told_and_not_tried_in_another_way(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.console.state["plugins"].clear()
        client = world.client()
        (difference,) = plugin_differences(client, (package(tmp_path),), {})
        send = client.send

        def forgetful(method: str, path: str, body: Any) -> Any:
            if "/install/" in path:
                world.console.state["packages"].clear()
            return send(method, path, body)

        client.send = forgetful  # type: ignore[method-assign]
        with pytest.raises(DifyRefused, match="install/github` with 500"):
            install(client, difference)
        assert writes(world.requests)[-1].endswith("/install/github")


def test_a_key_that_dify_shows_from_its_cache_only_holds_nothing_up(tmp_path: Path) -> None:
    with with_a_key(tmp_path, "package", "1.16.1", "") as world:
        there = world.console.state["plugins"][OPENAI_PLUGIN]
        world.client().send("POST", "/workspaces/current/plugin/uninstall", {"plugin_installation_id": there["id"]})
        world.by_console(package(tmp_path, "0.9.1", OPENAI_PLUGIN))
        assert bring(world, tmp_path, "0.9.2") == ["0.9.1"]


@pytest.mark.parametrize(
    ("manifest", "repo"),
    [
        ("", PLUGIN),
        ("repo: https://github.com/langgenius/dify-official-plugins\n", "langgenius/dify-official-plugins"),
        ("repo: https://github.com/someone/plugins.git\n", "someone/plugins"),
        ("repo: https://gitea.example/someone/plugins\n", PLUGIN),
    ],
)
def test_the_repository_of_the_manifest_is_told_as_the_origin(tmp_path: Path, manifest: str, repo: str) -> None:
    with a_world(tmp_path) as world:
        world.console.state["plugins"].clear()
        client = world.client()
        (difference,) = plugin_differences(client, (package(tmp_path, more_manifest=manifest),), {})
        install(client, difference)
        assert world.console.state["plugins"][PLUGIN]["meta"]["repo"] == repo
