"""daemon.json and containerd's file: merged, never overwritten; and how a daemon gets what they say."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from steelyard.api.change import Change, FileWrite, Refusal
from steelyard.modules.facts.docker import DockerState, at_risk
from steelyard.modules.operations.containerd import configured_commands
from steelyard.modules.operations.docker import daemon_commands, restart_part, stamp_of, stamped
from steelyard.modules.operations.json_merge import NotJson, merge, read_object, written

CONFIG: dict[str, Any] = {"live-restore": True, "log-driver": "json-file"}


def running(config: dict[str, Any], foreign: dict[str, Any] | None = None, **told: Any) -> DockerState:
    """A daemon that runs with its file, and the file with this configuration beside foreign keys."""
    merged, owned = merge(foreign or {}, stamped(config), {})
    info = {
        "ServerVersion": "26.1.5",
        "LiveRestoreEnabled": True,
        "LoggingDriver": "json-file",
        "Labels": stamped(config)["labels"],
        **told,
    }
    return DockerState(written(merged), written(owned), info, stamp=stamp_of(restart_part(config)))


def texts(config: dict[str, Any], now: DockerState) -> list[str]:
    commands = daemon_commands(config, now)
    assert all(isinstance(command, Change | Refusal) for command in commands)
    return [command.get_masked_value() for command in commands]


def test_in_sync_beside_a_foreign_key() -> None:
    assert texts(CONFIG, running(CONFIG, {"bip": "10.1.0.1/24"})) == []


def test_no_file_and_no_daemon_is_two_files_and_nothing_to_load() -> None:
    commands = daemon_commands(CONFIG, DockerState(None, None))
    assert [type(command) for command in commands] == [FileWrite, FileWrite]


def test_a_daemon_that_was_told_otherwise_at_run_time_is_reloaded() -> None:
    assert texts(CONFIG, running(CONFIG, LiveRestoreEnabled=False)) == ["systemctl reload docker.service"]


def test_a_file_that_was_edited_is_written_back_and_loaded() -> None:
    now = running(CONFIG)
    edited = DockerState(str(now.file).replace("true", "false"), now.owned, now.info, stamp=now.stamp)
    commands = daemon_commands(CONFIG, edited)
    assert isinstance(commands[0], FileWrite)
    assert "live-restore" in commands[0].live


def test_a_restart_names_the_containers_that_it_stops() -> None:
    config = {**CONFIG, "live-restore": False}
    now = running(config, LiveRestoreEnabled=False)
    older = DockerState(now.file, now.owned, now.info, ("a", "b"), stamp="older")
    command = daemon_commands(config, older)[-1]
    assert isinstance(command, Change)
    assert command.live == "started with others; a restart, STOPS 2 running containers: a, b"


def test_live_restore_is_reloaded_before_the_restart_that_it_spares_containers_from() -> None:
    now = running(CONFIG, LiveRestoreEnabled=False)
    older = DockerState(now.file, now.owned, now.info, ("a",), stamp="older")
    commands = daemon_commands(CONFIG, older)
    assert commands[0].get_masked_value() == "systemctl reload docker.service"
    assert "systemctl restart docker.service" in commands[1].get_masked_value()
    assert isinstance(commands[1], Change)
    assert commands[1].live.endswith("1 running containers stay: live-restore")


def test_what_would_stop_the_daemon_is_refused() -> None:
    flagged = DockerState(None, None, {"ServerVersion": "1"}, arguments=("/usr/sbin/dockerd", "-H", "fd://"))
    assert "given hosts as flags too" in texts({"hosts": ["unix:///x"]}, flagged)[0]
    swarm = DockerState(None, None, {"ServerVersion": "1", "Swarm": {"LocalNodeState": "active"}})
    assert "live-restore is not for swarms" in texts(CONFIG, swarm)[0]
    comment = DockerState('{\n  // by hand\n  "debug": true\n}\n', None)
    assert "line 2 has a comment, and JSON has none" in texts(CONFIG, comment)[0]


def test_a_label_of_ours_is_ours_whatever_became_of_the_record() -> None:
    """Two such labels, and a daemon of Debian 12 does not start."""
    now = running({"debug": True})
    command = daemon_commands(CONFIG, DockerState(now.file, None, now.info))[0]
    assert isinstance(command, FileWrite)
    assert json.loads(command.content)["labels"] == stamped(CONFIG)["labels"]


VALUES = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_merging_twice_is_merging_once(live: dict[str, Any], declared: dict[str, Any]) -> None:
    once, owned = merge(live, declared, {})
    assert merge(once, declared, owned) == (once, owned)


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3),
    st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3),
)
def test_what_is_not_declared_any_more_goes_and_what_is_foreign_stays(
    foreign: dict[str, Any], declared: dict[str, Any]
) -> None:
    merged, owned = merge(foreign, declared, {})
    assert merge(merged, {}, owned) == (foreign, {})


def test_sets_keep_foreign_items_after_ours() -> None:
    merged, owned = merge({"registry-mirrors": ["http://theirs"]}, {"registry-mirrors": ["http://ours"]}, {})
    assert merged == {"registry-mirrors": ["http://ours", "http://theirs"]}
    assert merge(merged, {"registry-mirrors": ["http://new"]}, owned)[0] == {
        "registry-mirrors": ["http://new", "http://theirs"]
    }
    assert isinstance(read_object("[1]"), NotJson)


def test_containerd_keeps_what_others_wrote_and_follows_its_file_version() -> None:
    live = b'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "x"\n'
    first = configured_commands(live, None, "/etc/containerd/certs.d", True, True)[0]
    assert isinstance(first, FileWrite)
    found = tomllib.loads(first.content.decode())["plugins"]["io.containerd.grpc.v1.cri"]
    assert (found["sandbox_image"], found["enable_cdi"], found["registry"]["config_path"]) == (
        "x",
        True,
        "/etc/containerd/certs.d",
    )
    third = configured_commands(b"version = 3\n", None, "/c", True, False)[0]
    assert isinstance(third, FileWrite)
    plugins = tomllib.loads(third.content.decode())["plugins"]
    assert plugins == {
        "io.containerd.cri.v1.images": {"registry": {"config_path": "/c"}},
        "io.containerd.cri.v1.runtime": {"enable_cdi": True},
    }
    assert "has version 4" in configured_commands(b"version = 4\n", None, None, True, False)[0].get_masked_value()
    assert "is not TOML" in configured_commands(b"= 1", None, None, True, False)[0].get_masked_value()


def test_only_containers_by_the_hook_under_systemd_are_at_risk() -> None:
    hook = {"HostConfig": {"Runtime": "nvidia"}, "Config": {"Env": ["NVIDIA_VISIBLE_DEVICES=all"]}}
    assert at_risk(hook, "systemd")
    assert not at_risk(hook, "cgroupfs")
    assert not at_risk({"HostConfig": {"DeviceRequests": [{"Driver": "cdi"}]}, "Config": {"Env": []}}, "systemd")
    assert not at_risk(
        {"HostConfig": {"Runtime": "nvidia"}, "Config": {"Env": ["NVIDIA_VISIBLE_DEVICES=void"]}}, "systemd"
    )
