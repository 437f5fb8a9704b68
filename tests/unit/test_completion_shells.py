"""A TAB in the real bash, zsh and fish, each on a terminal: names of the inventory come, and none of them is ever
run.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).parent / "steelyard")
EVIL = "ev il;$(touch pwned)'&"
HOSTS = (
    f'all: {{children: {{gpu: {{hosts: {{gpu-1: {{ansible_host: 127.0.0.1, ansible_port: 9}}, "{EVIL}": }}}}, '
    f"rack2: {{hosts: {{gpu-1: }}}}}}}}\n"
)
MODELS = "models:\n  llm/tiny: {source: file:///x, version: v1, alias: tiny, serve: {hosts: gpu-1}}\n"
STARTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
READS = {
    "bash": "bind 'set enable-bracketed-paste off'; source <(steelyard completion bash)",
    "zsh": "autoload -U compinit; compinit -u -D; source <(steelyard completion zsh)",
    "fish": "steelyard completion fish | source",
}


class Terminal:
    """A shell on a terminal of its own; what it writes is read until something is seen."""

    def __init__(self, words: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(words[0], words, env)
        self.seen = ""

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.fd, text.encode())

    def until(self, *patterns: str) -> str:
        """What was written since the last `type`, without the codes that move the cursor, once it has all of these."""
        end = time.monotonic() + 120
        while True:
            plain = re.sub(r"\x1b(\[[0-9;?>=]*[A-Za-z]|\][^\x07]*\x07|[()=>].?)|[\x07\x08]", "", self.seen)
            if all(re.search(pattern, plain) for pattern in patterns):
                return plain
            assert time.monotonic() < end, f"no {patterns} in {plain!r}"
            if select.select([self.fd], [], [], 1)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one inventory that a command has read."""
    made = tmp_path_factory.mktemp("shells")
    everything = made / "inventories/prod/group_vars/all"
    everything.mkdir(parents=True)
    (made / "inventories/prod/hosts.yml").write_text(HOSTS)
    (everything / "models.yml").write_text(MODELS)
    read = subprocess.run([PROGRAM, "inventory"], cwd=made, env=environment(made), capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    return made


def environment(folder: Path) -> dict[str, str]:
    own = {
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_DATA_HOME": str(folder / "data"),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "COLUMNS": "200",
        "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}",
    }
    return {key: value for key, value in os.environ.items() if key != "STEELYARD_INVENTORY"} | own


@pytest.fixture(params=list(STARTS))
def shell(request: pytest.FixtureRequest, folder: Path) -> Iterator[Terminal]:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed on this machine")
    terminal = Terminal(STARTS[name], folder, environment(folder))
    terminal.type(READS[name] + "; echo re''ady\n")
    terminal.until(r"\bready")
    yield terminal
    terminal.end()


def test_a_tab_completes_commands_aliases_versions_and_parts_of_patterns(shell: Terminal) -> None:
    shell.type("steelyard rollb\tt\t")
    shell.until(r"rollback\s+tiny")  # zsh and fish write parts of the line again
    shell.type("\tv\x15")  # the version, and the line is taken away again
    shell.type("steelyard plan -l rack2:gpu-\t")
    shell.until(r"rack2:gpu-1")


def test_a_name_with_the_shell_s_own_signs_is_quoted_and_never_run(shell: Terminal, folder: Path) -> None:
    shell.type("steelyard status -l ev\t")
    shell.until(r"touch.*pwned")
    shell.type("\n")
    shell.until(r"error: .*")
    assert "matches no host" in shell.until("error") or "unreachable" in shell.until("error")
    assert not list(folder.rglob("pwned"))


def test_a_tab_offers_files_where_a_file_is_wanted(shell: Terminal, folder: Path) -> None:
    (folder / "saved.plan").touch()
    shell.type("steelyard apply sav\t")
    shell.until(r"saved\.plan")
