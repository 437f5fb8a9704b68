"""Dify's nginx looks up its services once, when it starts: what moved after that is followed, and told where it is not.

Docker is simulated here by the containers that it would name; tests/lab/test_dify_stack.py has the real one.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from steelyard_host.dify import lifecycle
from steelyard_host.dify.stack import Container, DifyError, Stack

NGINX = "2026-12-01T10:00:00.5Z"
BEFORE, AFTER = "2026-12-01T09:59:59.9Z", "2026-12-01T10:00:00.7Z"


class _Stack(Stack):
    """A stack whose containers are said, and whose commands are only kept."""

    def __init__(self, began: dict[str, str], answers: dict[str, tuple[int, str | None]] | None = None) -> None:
        super().__init__({"folder": "/none", "project": "dify", "port": 80})
        self.ran: list[tuple[str, ...]] = []
        self.answers = answers or {}
        self.said = {
            name: Container("running" if at else "exited", None, "i", None, 0, 0, [], at) for name, at in began.items()
        }

    def containers(self) -> dict[str, Container]:
        return self.said

    def compose(self, *argv: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        self.ran.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    def ask(self, path: str) -> tuple[int, str | None]:
        return self.answers.get(path, (200, None))


@pytest.mark.parametrize("moved", ["api", "web", "plugin_daemon"])
def test_it_looks_up_anew_what_was_started_after_it(moved: str) -> None:
    stack = _Stack({"nginx": NGINX, "api": BEFORE, "web": BEFORE, "plugin_daemon": BEFORE, moved: AFTER})
    assert lifecycle.follow_addresses(stack)
    assert stack.ran == [("exec", "-T", "nginx", "nginx", "-s", "reload")]


@pytest.mark.parametrize(
    "began",
    [
        {"nginx": NGINX, "api": BEFORE, "web": BEFORE},
        {"nginx": NGINX, "api": BEFORE, "worker": AFTER, "db_postgres": AFTER},
        {"nginx": "", "api": AFTER},
        {"api": AFTER},
    ],
    ids=["all before it", "none that it asks", "it does not run", "there is none"],
)
def test_it_is_left_alone_where_nothing_that_it_asks_moved(began: dict[str, str]) -> None:
    stack = _Stack(began)
    assert not lifecycle.follow_addresses(stack)
    assert stack.ran == []


@pytest.mark.parametrize("status", [502, 504])
@pytest.mark.parametrize(("path", "service"), [("/", "web"), ("/e/steelyard", "plugin_daemon")])
def test_a_way_through_it_that_is_cut_is_told(path: str, service: str, status: int) -> None:
    assert f"to {service} is cut" in _Stack({}, {path: (status, None)}).silent()


def test_whoever_waits_for_dify_lets_a_proxy_look_that_alone_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = _Stack({}, {"/": (502, None)})
    monkeypatch.setattr(stack, "unready", lambda containers: {})
    told: list[tuple[str, ...]] = []

    def look(*argv: str, **_: Any) -> subprocess.CompletedProcess[str]:
        told.append(argv)
        stack.answers.clear()
        return subprocess.CompletedProcess(argv, 1, "", "refused: it is just starting")

    monkeypatch.setattr(stack, "compose", look)
    stack.wait(30)
    assert told == [("exec", "-T", "nginx", "nginx", "-s", "reload")]


def test_a_service_that_is_not_ready_is_waited_for_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, looks = _Stack({}), iter([{"api": "starting"}, {}])
    monkeypatch.setattr(stack, "unready", lambda containers: next(looks))
    stack.wait(30)
    assert stack.ran == []


def test_the_proxy_is_not_named_for_what_its_neighbour_does(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = _Stack({"nginx": NGINX, "api": BEFORE})
    stack.said = {name: container._replace(restarts=9) for name, container in stack.said.items()}
    monkeypatch.setattr(stack, "unready", lambda containers: {"nginx": "restarting", "api": "restarting"})
    with pytest.raises(DifyError, match="api ends again and again"):
        stack.wait(30)
    monkeypatch.setattr(stack, "unready", lambda containers: {"nginx": "restarting"})
    with pytest.raises(DifyError, match="nginx ends again and again"):
        stack.wait(30)


def test_what_a_service_itself_refuses_is_no_cut_way() -> None:
    assert _Stack({}, {"/": (307, None), "/e/steelyard": (404, None)}).silent() == ""


@pytest.mark.parametrize(
    ("said", "version"), [("2.26.1-4\n", "2.26.1"), ("v2.40.3", "2.40.3"), ("Docker Compose version dev", "")]
)
def test_the_release_of_compose_is_asked(said: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "run", lambda command, check: subprocess.CompletedProcess(command, 0, said, ""))
    assert lifecycle.compose_version() == version


def test_a_host_without_docker_has_no_release_of_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(command: list[str], check: bool) -> None:
        raise DifyError("there is no docker on this host")

    monkeypatch.setattr(lifecycle, "run", none)
    assert lifecycle.compose_version() == ""


def test_what_others_reach_is_every_port_but_the_proxy_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ports = {"nginx": ["0.0.0.0:80"], "milvus": ["0.0.0.0:19530", "127.0.0.1:9091"], "plugin_daemon": ["[::1]:5003"]}
    stack = _Stack({})
    stack.said = {name: Container("running", None, "i", None, 0, 0, several) for name, several in ports.items()}
    assert lifecycle.open_ports(stack.said) == ("0.0.0.0:19530",)
