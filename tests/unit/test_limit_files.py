"""`--limit` selects the hosts that Ansible selects; where Ansible would take every host, or end in a traceback, it is
refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from steelyard.errors import Exit, LimitFileWrong, LimitMatchedNoHost
from steelyard.inventory.fleet import Fleet
from steelyard.inventory.limit import Limit
from steelyard.inventory.read import read_fleet

ANSIBLE = str(Path(sys.executable).parent / "ansible")
HOSTS = """
all:
  children:
    gpu: {hosts: {g1: , g2: , g10: }}
    rack2: {hosts: {g2: , m1: }}
    mirror: {hosts: {m1: }}
    empty: {hosts: {}}
"""
FILES = {
    "failed": "g2\nm1\n",
    "no-newline": "g1",
    "spaces": "  g1  \n\n\t\ng10\n",
    "windows": "g1\r\ng2\r\n",
    "partly": "# of Tuesday\ng1\ngone-1\n",
    "patterns": "gpu\n!g2\n",
    "without": "!mirror\n",
    "both": "gpu\n&rack2\n",
    "regular": "~g1.*\n",
    "place": "gpu[-1]\n",
}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts.yml").write_text(HOSTS)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return read_fleet(tmp_path / "hosts.yml")


def by_ansible(pattern: str) -> list[str]:
    """The hosts that `ansible --limit` would act on."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    words = [ANSIBLE, "all", "-i", "hosts.yml", "--list-hosts", "-l", pattern]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines()[1:]]


@pytest.mark.parametrize("pattern", [*(f"@{name}" for name in FILES), "@failed:!m1", "@failed,g10", "g1,@patterns"])
def test_a_file_selects_what_ansible_selects(fleet: Fleet, pattern: str) -> None:
    assert sorted(Limit(pattern).select(fleet)) == sorted(by_ansible(pattern))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("\n  \n", "is empty"),
        ("g3\ngone\n", "names no host here: `g3`, `gone`"),
        ("empty\n", "names no host here: `empty`"),
        ("\n".join(f"x{number}" for number in range(9)), "`x4`, ..."),
        ("g1\n~g(\n", "line 2"),
        ("!~[\n", "line 1"),
        ("gpu[7]\n", "names no host here"),
        ("g1\n&\n", "names no host here"),
    ],
)
def test_a_file_that_selects_nobody_is_refused_in_a_sentence(fleet: Fleet, text: str, why: str) -> None:
    Path("list").write_text(text)
    with pytest.raises(LimitFileWrong) as caught:
        Limit("@list").select(fleet)
    assert why in str(caught.value)
    assert "`list`" in str(caught.value)
    assert caught.value.exit == Exit.NO_HOST


def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(fleet: Fleet) -> None:
    Path("bytes").write_bytes(b"g1\n\xff\xfe")
    Path("folder").mkdir()
    for name, why in (("gone", "no such file"), ("folder", "is a directory"), ("bytes", "holds no text")):
        for pattern in (f"@{name}", f"g1,@{name}"):
            with pytest.raises(LimitFileWrong, match=why):
                Limit(pattern).select(fleet)


@pytest.mark.parametrize("pattern", [",", " , ", ":", "gpu[7]", "~g(", "g1:&", "empty"])
def test_a_pattern_that_is_none_selects_nobody(fleet: Fleet, pattern: str) -> None:
    with pytest.raises(LimitMatchedNoHost):
        Limit(pattern).select(fleet)


def test_ansible_takes_every_host_where_a_file_is_empty(fleet: Fleet) -> None:
    """Why ours is refused."""
    Path("list").write_text("")
    assert len(by_ansible("@list")) == len(fleet.hosts)
