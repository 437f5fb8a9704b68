"""Paths that a user may give and the system refuses, or a shell would read otherwise: sentences, and commands that can
be pasted.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from steelyard.errors import FileNotWritten, InventoryMissing, InventoryUnreadable
from steelyard.inventory.ansible import read_ansible
from steelyard.inventory.choice import VARIABLE, choose_inventory, meant_inventory
from steelyard.inventory.connection import wrong_connection
from steelyard.inventory.fleet import FleetHost
from steelyard.inventory.known_names import known_names
from steelyard.inventory.locate import locate
from steelyard.inventory.placeholders import placeholders_in
from steelyard.inventory.read import read_fleet
from steelyard.inventory.split_sections import split_sections

STEELYARD = str(Path(sys.executable).parent / "steelyard")
LONG = "x" * 300


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([STEELYARD, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("init", "file/below"), "Not a directory"),
        (("init", LONG), "File name too long"),
        (("wheels", "verify", LONG), "File name too long"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_with_the_path(words: tuple[str, ...], why: str) -> None:
    Path("file").touch()
    done = run(*words)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert done.stderr.startswith(f"error: {words[-1]}: cannot be used: {why}")
    said = json.loads(run(*words, "--json").stdout) if words[0] != "init" else {"error": "PathUnusable"}
    assert said["error"] == "PathUnusable"


def test_the_fix_of_a_refused_path_looks_at_what_is_there() -> None:
    Path("a file").touch()
    done = run("init", "a file/below/further")
    [command] = re.findall(r"`([^`]+)`", done.stderr)
    assert shlex.split(command) == ["ls", "-ld", "--", "a file"]
    subprocess.run(shlex.split(command), check=True, capture_output=True)


def test_what_init_cannot_write_is_a_sentence() -> None:
    from steelyard.cli.init import init

    Path("site").mkdir()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, limit[1]))  # as a disk that is full, for root too
    try:
        with pytest.raises(FileNotWritten, match=r"^site/.*: cannot write: File too large$"):
            init(Path("site"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_init_writes_over_nothing_not_even_a_link_that_leads_nowhere() -> None:
    Path("link").symlink_to("nowhere")
    done = run("init", "link")
    assert done.returncode == 1
    assert "it is no folder, or not empty; nothing was written" in done.stderr


def test_a_name_that_is_too_long_is_no_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InventoryMissing):
        read_ansible(Path(LONG))
    monkeypatch.setenv(VARIABLE, LONG)
    with pytest.raises(InventoryMissing):
        choose_inventory("steelyard plan")


def test_commands_for_a_folder_with_a_blank_can_be_pasted() -> None:
    said = run("init", "my site").stdout
    assert "`steelyard doctor -i 'my site'`" in said
    for left in placeholders_in(Path("my site")):
        subprocess.run(shlex.split(left.remedy(Path("my site"))), check=True)
    assert placeholders_in(Path("my site")) == []


def test_commands_of_errors_and_findings_name_a_folder_with_a_blank_as_one_word(tmp_path: Path) -> None:
    folder = tmp_path / "my site"
    folder.mkdir()
    key = tmp_path / "my key"
    key.touch(mode=0o644)
    (folder / "hosts.yml").write_text(
        f"all: {{vars: {{ansible_ssh_private_key_file: {key}}}, hosts: {{g1: {{ansible_host: 192.0.2.1}}}}}}\n"
    )
    fixes = [finding["fix"] for finding in json.loads(run("doctor", "-i", str(folder), "--json").stdout)["findings"]]
    words = [shlex.split(fix) for fix in fixes]
    assert ["steelyard", "doctor", "-i", str(folder), "--record-keys"] in words
    assert ["chmod", "600", str(key)] in words
    told = InventoryUnreadable(where=str(folder), why="it is none").remedy
    assert shlex.split(re.findall("`([^`]+)`", told)[0]) == ["ansible-inventory", "-i", str(folder), "--list"]
    assert "`steelyard init inventories/prod`" in InventoryMissing(where="inventories/prod").remedy


@pytest.mark.parametrize("address", ["10..0.1", "x" * 64 + ".example.org", "."])
def test_an_address_that_no_socket_takes_is_a_wrong_setting(address: str) -> None:
    Path("hosts.yml").write_text(f"all: {{hosts: {{g1: {{ansible_host: '{address}'}}}}}}\n")
    done = run("plan", "-i", "hosts.yml")
    assert done.returncode == 3, "the host's own failure: others would be planned"
    assert f"error: hosts.yml:1: setting `ansible_host` is '{address}'; allowed: an address" in done.stderr
    for right in ("2001:db8::1", "fe80::1%eth0", "gpu-1.example.org.", "münchen.example"):
        assert wrong_connection(FleetHost("g1", (), {"ansible_host": right})) == []


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            "ansible_ssh_common_args: '-o \"ProxyJump=x'",
            "setting `ansible_ssh_common_args` is no options of ssh; allowed: words as in a shell",
        ),
        (
            "ansible_ssh_private_key_file: ~nobody-of-that-name/key",
            "setting `ansible_ssh_private_key_file` is '~nobody-of-that-name/key'",
        ),
        ("vllm: &section {packages: *section}", "the inventory cannot be read: a value holds itself"),
    ],
)
def test_what_cannot_be_read_of_an_inventory_is_a_sentence(variables: str, sentence: str) -> None:
    Path("group_vars").mkdir()
    Path("group_vars/all.yml").write_text(variables + "\n")
    Path("hosts.yml").write_text("all: {hosts: {g1: {ansible_host: 127.0.0.1, ansible_port: 9}}}\n")
    for command in ("plan", "doctor"):
        done = run(command, "-i", "hosts.yml")
        assert "Traceback" not in done.stderr
        assert sentence in " ".join((done.stderr + done.stdout).split())


def test_a_word_that_only_ends_so_is_no_placeholder() -> None:
    Path("hosts.yml").write_text("all: {vars: {note: PLEASE-DO-NOT-CHANGE-ME-today}, hosts: {g1: {}}}\n")
    assert placeholders_in(Path("hosts.yml")) == []


def test_a_file_is_not_said_to_hold_what_its_neighbours_do() -> None:
    """Inventories that are files lie side by side; each is read alone."""
    Path("a.yml").write_text("all: {children: {gpu: {hosts: {g1: {}}, vars: {vllm: {version: 0.32.0}}}}}\n")
    Path("b.yml").write_text("all: {children: {gpu: {hosts: {g1: {vllm: {version: 0.31.0, api_key: x}}}}}}\n")
    Path("c.ini").write_text('[gpu]\ng1\n[gpu:vars]\nvllm="{{ defaults }}"\n')
    assert split_sections(read_fleet(Path("a.yml")), ("vllm",)) == []
    fleet = read_fleet(Path("c.ini"))
    assert locate(Path("c.ini"), fleet.hosts[0], ("vllm",)) == "c.ini"
    assert locate(Path("a.yml"), fleet.hosts[0], ("vllm",)) == "a.yml:1"


def test_the_endings_that_ansible_reads_are_located(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "hosts.yaml").write_text("all:\n  hosts:\n    g1: {vllm: {version: 0.32.0}}\n")
    assert locate(folder, read_fleet(folder).hosts[0], ("vllm", "version")) == f"{folder}/hosts.yaml:3"


def complete(line: str) -> subprocess.CompletedProcess[str]:
    return run("__complete", "bash", line)


def test_a_tab_says_nothing_whatever_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("loop").symlink_to("loop")
    assert known_names(Path("loop")).hosts == ()
    for given in ("loop", LONG, "a\\ b", "'open"):
        assert complete(f"steelyard plan -i {given} -l ").stderr == ""
    monkeypatch.setenv(VARIABLE, "loop")
    assert complete("steelyard plan -l ").stderr == ""


def test_a_folder_that_may_not_be_looked_into_is_doubtful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its rights do not hold root back, so the system's refusal is one of a name."""
    for name in ("prod", "closed"):
        (tmp_path / "inventories" / name).mkdir(parents=True)
        (tmp_path / "inventories" / name / "hosts.yml").touch()
    whole = Path.iterdir

    def refused(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    assert meant_inventory() is None


def test_an_inventory_is_meant_as_the_shell_would_expand_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "home" / "my site"
    folder.mkdir(parents=True)
    (folder / "hosts.yml").write_text("all: {hosts: {gpu-01: {}}}\n")
    read_fleet(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SITES", str(tmp_path / "home"))
    for given in ("~/my\\ site", "$SITES/my\\ site", shlex.quote(os.path.relpath(folder))):
        assert re.search("^gpu-01$", complete(f"steelyard plan -i {given} -l gp").stdout, re.MULTILINE), given
