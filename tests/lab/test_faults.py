"""What real networks, hosts and controllers do to a run: cut links, kills, passwords, one session only, floods,
silence.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.lab_site import ROOT, STEELYARD, Site, first_process, on_host, steelyard

from steelyard_host.wire.relay import FRAME, ORDER

FORTY = ROOT / "tests/bench/forty"
SHELL = """
from pyinfra.operations import server
server.shell(name="Do", commands=[{command!r}])
server.shell(name="Then", commands=["touch /run/then"])
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    return tmp_path / "mine.py"


def connection(site: Site, tmp_path: Path, **changes: Any) -> Path:
    """A copy of the inventory whose connection variables are changed; None takes one out."""
    inventory = site.copy(tmp_path)
    path = inventory / "group_vars/all/connection.yml"
    content = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return inventory


def run(
    inventory: Path, command: str, deploy: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = steelyard(command, "-i", str(inventory), "--deploy", str(deploy), *words, **environment)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


def errors(done: subprocess.CompletedProcess[str]) -> dict[str, str | None]:
    return {host["host"]: (host["error"] or {}).get("error") for host in json.loads(done.stdout)["hosts"]}


# Output


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("head -c 52428800 /dev/zero | tr '\\0' x | fold -w 120", 0),
        ("head -c 52428800 /dev/zero | tr '\\0' x", 0),  # one line of 50 MB
        ("head -c 3000000 /dev/urandom", 0),
        ("head -c 52428800 /dev/zero | tr '\\0' y | fold -w 120 >&2; echo >&2; echo the reason >&2; exit 7", 7),
    ],
    ids=["50-mb", "50-mb-in-one-line", "binary", "50-mb-of-errors"],
)
def test_a_flood_of_output_is_survived(bare: Site, deploy: Path, command: str, status: int) -> None:
    deploy.write_text(SHELL.format(command=command))
    done = run(bare.inventory, "apply", deploy, "--yes", "-l", "gw-1")
    if status == 0:
        assert done.returncode == 0, done.stderr[-500:]
    else:
        assert done.returncode == 3
        assert f"failed: exit {status}: `" in done.stderr
        assert "gw-1: | the reason" in done.stderr
        assert len(done.stderr) < 20_000


def test_a_flood_from_a_fact_is_survived(bare: Site, deploy: Path) -> None:
    deploy.write_text(
        "from pyinfra.context import host\nfrom pyinfra.facts.server import Command\n"
        "found = host.get_fact(Command, command=\"head -c 52428800 /dev/zero | tr '\\\\0' x | fold -w "
        "1000; printf '\\\\377\\\\0'\")\n"
        "assert len(found) > 52428800, len(found)\n"
    )
    done = run(bare.inventory, "plan", deploy, "-l", "gw-1")
    assert done.returncode == 0, done.stderr[-500:]


# Time


def test_a_command_that_never_ends_is_ended_by_the_host(bare: Site, deploy: Path, tmp_path: Path) -> None:
    inventory = connection(bare, tmp_path, steelyard_command_timeout_s=2)
    deploy.write_text(SHELL.format(command="echo begun; sleep 61; echo never"))
    done = run(inventory, "apply", deploy, "--yes", "-l", "gw-1")
    assert done.returncode == 3
    assert "failed: did not end within 2 s: `" in done.stderr
    assert "gw-1: | begun" in done.stderr
    assert bare.sh("gw-1", "pgrep -cf 'sleep 6[1]'", check=False).strip() == "0"


def test_a_fact_that_never_ends_is_named_and_the_others_are_planned(bare: Site, deploy: Path, tmp_path: Path) -> None:
    inventory = connection(bare, tmp_path, steelyard_timeout_s=3)
    deploy.write_text(
        "from pyinfra.context import host\nfrom pyinfra.facts.server import Command\n"
        "host.get_fact(Command, command='true')\n"
        "if host.data.host_name == 'gw-1':\n    host.get_fact(Command, command='sleep 63')\n"
    )
    done = run(inventory, "plan", deploy, "--json")
    assert errors(done) == {"mirror-1": None, "gw-1": "HostSilent", "gpu-1": None}
    assert "while asking `'sleep 63'`" in done.stdout or "sleep 63" in done.stdout


# The controller


def test_the_controller_killed_at_any_moment_leaves_nothing_half_made(bare: Site) -> None:
    """Killed again and again while it mends; each file is whole or not there, and the next run ends well."""
    forty, inventory = FORTY / "ours.py", str(bare.inventory)
    words = ["apply", "-i", inventory, "--deploy", str(forty), "--yes"]
    assert steelyard(*words).returncode == 0
    sums = bare.sh("gpu-1", "cd /opt/forty && sha256sum file? *.conf")
    for milliseconds in (900, 1100, 1300, 1500, 1700, 2000, 2400):
        for name in ("mirror-1", "gw-1", "gpu-1"):
            bare.sh(name, "rm -f /opt/forty/file? /opt/forty/*.conf")
        killed = subprocess.Popen([STEELYARD, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(milliseconds / 1000)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        time.sleep(0.5)  # the command that was under way ends on the host
        there = bare.sh("gpu-1", "cd /opt/forty && sha256sum file? *.conf 2>/dev/null", check=False)
        assert set(there.splitlines()) <= set(sums.splitlines()), "a file that is half there"
    again = steelyard("apply", "-i", inventory, "--deploy", str(forty), "--yes", "--resume")
    assert again.returncode == 0, again.stderr
    last = steelyard(*words)
    assert last.returncode == 0, last.stderr
    assert bare.sh("gpu-1", "cd /opt/forty && sha256sum file? *.conf") == sums
    assert bare.sh("gpu-1", "ls -d /tmp/.steelyard-* 2>/dev/null", check=False) == "", "a shell left its folder"


@contextmanager
def cut(site: Site, host: str) -> Iterator[None]:
    """The host's cable is pulled."""
    number = [machine.host.name for machine in site.lab.machines].index(host)
    link = f"sy{site.lab.slot}h{number}"
    subprocess.run(["ip", "link", "set", link, "down"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "set", link, "up"], check=True)


def test_a_link_cut_during_a_command_costs_that_host_and_no_other(bare: Site, deploy: Path, tmp_path: Path) -> None:
    inventory = connection(bare, tmp_path, steelyard_link_timeout_s=3)
    deploy.write_text(SHELL.format(command="touch /run/begun; sleep 8; touch /run/ended"))
    for name in ("mirror-1", "gw-1", "gpu-1"):
        bare.sh(name, "rm -f /run/begun /run/ended /run/then")
    words = [STEELYARD, "apply", "-i", str(inventory), "--deploy", str(deploy), "--yes", "--json"]
    begun = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(100):
        if on_host(bare, "gpu-1", "ls /run").split().count("begun"):
            break
        time.sleep(0.1)
    with cut(bare, "gpu-1"):
        out, err = begun.communicate(timeout=60)
    assert begun.returncode == 3, err
    found = {host["host"]: (host["error"] or {}).get("error") for host in json.loads(out)["hosts"]}
    assert found == {"mirror-1": None, "gw-1": None, "gpu-1": "ConnectionLost"}
    assert bare.sh("gw-1", "ls /run/then").strip() == "/run/then"
    assert bare.sh("gpu-1", "ls /run/then", check=False) == ""
    resumed = run(inventory, "apply", deploy, "--yes", "--resume", "--json")
    assert (resumed.returncode, errors(resumed)) == (0, {"gpu-1": None})


# Becoming root


@pytest.fixture
def with_password(bare: Site) -> Iterator[str]:
    """sudo on gw-1 asks for a password."""
    password = "canary-sudo-password"
    on_host(
        bare,
        "gw-1",
        f"echo 'ops:{password}' | chpasswd; mv /etc/sudoers.d/ops /root/ops.kept; "
        "echo 'ops ALL=(ALL) ALL' > /etc/sudoers.d/ops",
    )
    yield password
    on_host(bare, "gw-1", "mv /root/ops.kept /etc/sudoers.d/ops; passwd -dq ops; rm -rf /run/sudo/ts/ops")


def test_sudo_with_a_password_works_and_nobody_sees_it(
    bare: Site, deploy: Path, tmp_path: Path, with_password: str
) -> None:
    inventory = connection(bare, tmp_path, ansible_become_password=with_password)
    watch = (
        "for n in $(seq 100); do for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; tr '\\0' ' ' <$p/environ; "
        "echo; done 2>/dev/null; sleep 0.05; done"
    )
    seen = subprocess.Popen(
        ["nsenter", "-t", first_process(bare, "gw-1"), "-a", "sh", "-c", watch],
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    forty = FORTY / "ours.py"
    on_host(bare, "gw-1", "rm -f /opt/forty/file0")
    done = run(inventory, "apply", forty, "--yes", "-vv", "-l", "gw-1")
    plan = run(inventory, "plan", forty, "-l", "gw-1", "-v")
    out, _ = seen.communicate(timeout=60)
    assert done.returncode == 0, done.stderr
    assert plan.returncode == 0, plan.stdout
    assert with_password not in done.stdout + done.stderr + plan.stdout + plan.stderr
    assert "sudo" in out
    assert with_password not in out, "in a command line or an environment of the host"
    assert on_host(bare, "gw-1", f"grep -rls {with_password} /tmp /run /var /etc /root /home 2>/dev/null || true") == ""
    assert on_host(bare, "gw-1", f"journalctl --no-pager | grep -c {with_password} || true").strip() == "0"
    # a conversation, as models travel, is let in the same way and gets its bytes and nothing else
    streaming = tmp_path / "stream.py"
    streaming.write_text(
        "from pyinfra.api.command import StringCommand\nfrom pyinfra.operations import python\n"
        "def send(*_):\n    from pyinfra.context import host\n"
        "    talk = host.connector.open_stream(StringCommand('head -c 29 > /run/streamed'))\n"
        "    talk.chunk(1, b'one')\n    talk.send_command({'two': 2})\n    assert list(talk.events(dict)) == []\n"
        "python.call(name='Stream', function=send)\n"
    )
    streamed = run(inventory, "apply", streaming, "--yes", "-l", "gw-1")
    assert streamed.returncode == 0, streamed.stderr
    sent = FRAME.pack(1, 3) + b"one" + FRAME.pack(ORDER, 10) + b'{"two": 2}'
    assert base64.b64decode(on_host(bare, "gw-1", "base64 /run/streamed")) == sent
    # hosts that do not ask are given nothing: the password is not run as a command there
    others = run(inventory, "plan", forty, "-l", "gpu-1")
    assert others.returncode in (0, 2), others.stderr


def test_a_wrong_sudo_password_is_told_and_tried_once(bare: Site, tmp_path: Path, with_password: str) -> None:
    inventory = connection(bare, tmp_path, ansible_become_password="canary-wrong")
    before = on_host(bare, "gw-1", "journalctl --no-pager -t sudo | grep -c 'authentication failure' || true")
    done = run(inventory, "plan", FORTY / "ours.py", "--json")
    assert errors(done)["gw-1"] == "SudoPasswordWrong"
    assert "did not take the password" in done.stdout
    assert "canary-wrong" not in done.stdout + done.stderr
    after = on_host(bare, "gw-1", "journalctl --no-pager -t sudo | grep -c 'authentication failure' || true")
    assert int(after) - int(before) <= 1


def test_sudo_that_asks_while_no_password_is_known_is_told(bare: Site, with_password: str) -> None:
    done = run(bare.inventory, "plan", FORTY / "ours.py", "--json")
    assert errors(done) == {"mirror-1": None, "gw-1": "SudoRefused", "gpu-1": None}
    assert "password is required" in done.stdout


# The way there


@contextmanager
def sshd(site: Site, host: str, text: str) -> Iterator[None]:
    place = "/etc/ssh/sshd_config.d/00-test.conf"
    on_host(site, host, f"printf '{text}\\n' > {place}; systemctl restart ssh")
    try:
        yield
    finally:
        on_host(site, host, f"rm {place}; systemctl restart ssh")


def test_a_server_that_allows_one_session_is_enough(bare: Site, tmp_path: Path) -> None:
    """Plan, apply with commands, and pyinfra's own upload, which needs a channel to itself."""
    upload = tmp_path / "upload.py"
    upload.write_text(
        "from io import StringIO\nfrom pyinfra.operations import files, server\n"
        "files.put(name='Upload', src=StringIO('hello\\n'), dest='/opt/uploaded')\n"
        "server.shell(name='Use', commands=['grep hello /opt/uploaded'])\n"
    )
    bare.sh("gw-1", "rm -f /opt/uploaded /opt/forty/file1")
    with sshd(bare, "gw-1", "MaxSessions 1"):
        done = run(bare.inventory, "apply", FORTY / "ours.py", "--yes", "-l", "gw-1", "-v")
        assert done.returncode == 0, done.stderr
        assert "gw-1: ssh: 1 connection, 1 channel," in done.stderr
        done = run(bare.inventory, "apply", upload, "--yes", "-l", "gw-1")
        assert done.returncode == 0, done.stderr
    assert bare.sh("gw-1", "cat /opt/uploaded") == "hello\n"


@pytest.mark.parametrize(
    "way",
    [
        "-o ProxyJump=ops@{hop}",
        "-J ops@{hop}",
        "-o ProxyCommand='ssh -i {key} -o UserKnownHostsFile={known} -W %h:%p ops@{hop}'",
    ],
)
def test_a_host_behind_a_jump_host_is_reached(bare: Site, tmp_path: Path, way: str) -> None:
    """gpu-1 takes connections from gw-1 only."""
    key, known = bare.lab.paths.key, bare.lab.paths.known_hosts
    words = way.format(hop=bare.address("gw-1"), key=key, known=known)
    inventory = bare.copy(tmp_path)
    (inventory / "host_vars").mkdir(exist_ok=True)
    shared = yaml.safe_load((inventory / "group_vars/all/connection.yml").read_text())["ansible_ssh_common_args"]
    (inventory / "host_vars/gpu-1.yml").write_text(yaml.safe_dump({"ansible_ssh_common_args": f"{shared} {words}"}))
    rule = f"ip saddr {bare.lab.net.gateway} tcp dport 22 reject with tcp reset"
    on_host(
        bare,
        "gpu-1",
        (
            f"nft add table inet hoptest; nft 'add chain inet hoptest incoming {{ type filter hook input "
            f"priority 0; }}'; nft 'add rule inet hoptest incoming {rule}'"
        ),
    )
    try:
        direct = run(bare.inventory, "plan", FORTY / "ours.py", "-l", "gpu-1", "--json")
        assert errors(direct) == {"gpu-1": "HostUnreachable"}
        done = run(inventory, "plan", FORTY / "ours.py", "-l", "gpu-1", "--json")
    finally:
        on_host(bare, "gpu-1", "nft delete table inet hoptest")
    assert errors(done) == {"gpu-1": None}, done.stderr
    assert done.returncode in (0, 2)


def test_a_key_from_an_agent_is_enough(bare: Site, tmp_path: Path) -> None:
    inventory = connection(bare, tmp_path, ansible_ssh_private_key_file=None)
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(50):
            if socket.exists():
                break
            time.sleep(0.1)
        without = run(inventory, "plan", FORTY / "ours.py", "-l", "gw-1", "--json", SSH_AUTH_SOCK=str(socket))
        assert errors(without) == {"gw-1": "LoginRefused"}
        subprocess.run(
            ["ssh-add", "-q", bare.lab.paths.key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(socket)}
        )
        done = run(inventory, "plan", FORTY / "ours.py", "-l", "gw-1", "--json", SSH_AUTH_SOCK=str(socket))
    finally:
        agent.kill()
    assert errors(done) == {"gw-1": None}
