"""Commands over several real SSH hosts, as somebody at a terminal and a log see them.

The hosts are this machine, at addresses of its own: see `support/ssh_hosts.py`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ssh_hosts import SshHosts, ssh_hosts
from support.terminal import Ran, Screen, run_on

from steelyard.errors import Exit

STEELYARD = str(Path(sys.executable).parent / "steelyard")
FOUR = {f"g{number}": f"127.9.0.{number}" for number in range(1, 5)}
FLEET = {**FOUR, "gone": "127.9.1.1:9"}
SLOW_S = 1.5  # of g3, so that a table is seen
DEPLOY = """
from pyinfra.operations import files, server
files.directory(name="Look", path="/")
server.shell(name="Say", commands=["true"])
server.shell(name="Say more", commands=["test $HERE != 127.9.0.4"])
"""
LINE = re.compile(r"^(\w+): (.+) \((\d+)/(\d+), (.+)\)$", re.M)


class Site:
    """An inventory of real hosts, and what runs against it."""

    def __init__(self, folder: Path, inventory: Path) -> None:
        self.folder, self.inventory = folder, inventory
        (folder / "deploy.py").write_text(DEPLOY)
        self.environment = {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}

    def argv(self, words: str) -> list[str]:
        command, *options = words.split()
        deploy = ["--deploy", str(self.folder / "deploy.py")] if command in ("plan", "apply", "drift") else []
        return [STEELYARD, command, "-i", str(self.inventory), *deploy, *options]

    def run(self, words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment}
        return subprocess.run(self.argv(words), capture_output=True, text=True, env=environment, timeout=120)

    def on_a_terminal(self, words: str, rows: int = 24, columns: int = 80, **given: object) -> Ran:
        return run_on(self.argv(words), rows, columns, self.environment, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHosts]:
    with ssh_hosts(tmp_path_factory.mktemp("ssh"), {FOUR["g3"]: SLOW_S, "127.9.0.9": 3600}) as served:
        yield served


@pytest.fixture
def site(tmp_path: Path, hosts: SshHosts) -> Site:
    return Site(tmp_path, hosts.inventory(tmp_path / "site", FLEET))


def lines_of(text: str) -> list[tuple[str, str, str]]:
    """Each host's line: its name, how it came out, and how many were done by then."""
    return [(found[1], found[2], f"{found[3]}/{found[4]}") for found in LINE.finditer(text)]


@pytest.mark.parametrize("command", ["plan", "drift"])
def test_a_log_has_a_line_a_host_and_stdout_is_the_document(site: Site, command: str) -> None:
    done = site.run(command)
    said = lines_of(done.stderr)
    assert done.returncode == Exit.HOST_FAILED
    assert [count for _, _, count in said] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert {name: ended for name, ended, _ in said} == {**dict.fromkeys(FOUR, "2 changes"), "gone": "unreachable"}
    assert said[-1][0] == "g3", "in the order in which they end"
    assert lines_of(done.stdout) == []
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(("words", "named"), [("status", "done"), ("preflight --no-links", "done")])
def test_what_only_asks_says_so_too(site: Site, words: str, named: str) -> None:
    said = lines_of(site.run(words).stderr)
    assert {ended for name, ended, _ in said if name != "gone"} == {named}
    assert len(said) == 5


def test_json_and_quiet_have_none_of_it(site: Site) -> None:
    whole = site.run("plan --json")
    assert len(json.loads(whole.stdout)["hosts"]) == 5
    quiet = site.run("plan -q")
    for text in (whole.stderr, quiet.stderr):
        assert lines_of(text) == []
        assert "hosts/" not in text


def test_a_single_host_has_no_line(site: Site) -> None:
    assert site.run("plan -l g1").stderr == ""


def test_an_apply_in_a_log_tells_of_each_host_twice_and_of_the_failed_one(site: Site) -> None:
    done = site.run("apply --yes -l g1,g2,g4")
    said = lines_of(done.stderr)
    assert [count for _, _, count in said] == ["1/3", "2/3", "3/3", "1/3", "2/3", "3/3"]
    assert {name: ended for name, ended, _ in said[3:]} == {
        **dict.fromkeys(("g1", "g2"), "changed by 2 tasks"),
        "g4": "failed",
    }
    assert done.returncode == Exit.HOST_FAILED


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (10, 40)])
def test_a_terminal_has_a_table_and_nothing_of_it_stays(site: Site, rows: int, columns: int) -> None:
    done = site.on_a_terminal("plan", rows, columns)
    assert done.ever("looking at 5 hosts")
    assert done.ever("4/5")
    assert done.ever("g3 1 s" if columns == 80 else "g3")
    final = "\n".join([*done.screen.gone, *done.screen.lines])
    for part in ("looking", "/5", "SLOWEST", "g3 1 s"):
        assert part not in final
    assert "plan: 8 changes on 4 of 5 hosts" in " ".join(final.split())
    assert (done.status, done.screen.has_cursor) == (Exit.HOST_FAILED, True)


def test_ctrl_c_leaves_a_clean_screen(site: Site, hosts: SshHosts) -> None:
    hosts.inventory(site.folder / "site", {**FOUR, "hangs": "127.9.0.9"})
    done = site.on_a_terminal("plan", until=lambda screen: any("4/5" in line for line in screen.lines))
    assert done.ever("hangs")
    final = "\n".join([*done.screen.gone, *done.screen.lines])
    assert "stopped by Ctrl-C" in final
    assert "/5" not in final
    assert "SLOWEST" not in final
    assert (done.status, done.screen.has_cursor) == (Exit.INTERRUPTED, True)


def test_nothing_moves_below_a_question(site: Site) -> None:
    done = site.on_a_terminal("apply", answers={"[y/N]": "n\n"}, rows=40)
    asked = [picture for picture in done.pictures if any("[y/N]" in line for line in picture)]
    assert asked
    for picture in asked:
        assert "[y/N]" in picture[-1] or "^" in picture[-1]
        assert not any("looking at" in line for line in picture)
    assert done.status == Exit.USAGE


def test_a_watch_is_one_picture_and_ends_with_ctrl_c(site: Site) -> None:
    rounds: list[str] = []

    def third(screen: Screen) -> bool:
        head = next((line for line in screen.lines if "every 1 s" in line), "")
        rounds.extend([head] if head and head not in rounds else [])
        return len(rounds) > 2

    done = site.on_a_terminal("status --watch --every 1", 30, until=third)
    assert (done.status, done.screen.has_cursor) == (Exit.DONE, True)
    assert done.screen.gone == []
    assert done.screen.lines[0].startswith(rounds[-1][:9])
    names = [line.split()[0] for line in done.screen.lines if line.startswith("g")]
    assert names == ["gone", "g1", "g2", "g3", "g4"]
    assert not any("^C" in line for line in done.screen.lines)
    after = done.raw.partition("every 1 s")[2]
    assert "\x1b[?25l" not in after, "no table moves below the picture"


def test_a_watch_in_a_log_has_the_whole_once_and_then_what_changes(site: Site, hosts: SshHosts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hosts.inventory(site.folder / "site", {**FOUR, "later": f"127.9.2.1:{port}"})
    environment = {**os.environ, **site.environment}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        site.argv("status --watch --every 1"), stdout=pipe, stderr=pipe, text=True, env=environment
    ) as process:
        assert process.stdout and process.stderr
        said = [process.stdout.readline() for _ in range(6)]
        assert [line.split()[0] for line in said] == ["HOST", *FOUR, "later"]
        with ssh_hosts(site.folder / "later", port=port):
            while not said[-1].endswith("Z later: answers again\n"):
                said.append(process.stdout.readline())
                assert said[-1], "it has ended"
        process.send_signal(signal.SIGINT)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert lines_of(errors) == [], "no line a host each round"
    assert re.fullmatch(r"(\d\d:\d\d:\d\dZ later: does not answer\n)?", rest)
    assert process.returncode == Exit.DONE
