"""What a TAB offers: by the table of commands, by names of the inventory that are still true, and at what cost in
imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from steelyard.completion.answer import TABLE
from steelyard.completion.shells import answer_bash, answer_described, read_bash
from steelyard.completion.words import Offer, offer
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.known_names import KnownNames, known_labs, known_names, note_versions
from steelyard.inventory.read import read_fleet

COMMANDS = json.loads(TABLE.read_text())
NAMES = KnownNames(
    hosts=("gpu-1", "gpu-2", "gw-1"),
    groups=("all", "gpu", "rack2"),
    aliases={"tiny": "llm/tiny", "big": "llm/big"},
    models={"llm/tiny": ["v1", "v2"], "llm/big": ["v7"]},
    labs={"lab": ["gpu-1"], "second": ["gw-9"]},
)


def offered(line: str) -> list[str]:
    """What the last word of the line may become; a line that ends with a blank begins a new word."""
    *words, current = line.split(" ")
    return list(offer(COMMANDS, words[1:], current, NAMES).values)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("steelyard roll", ["rollout", "rollback"]),
        ("steelyard dify ba", ["backup", "backups"]),
        ("steelyard mirror images ", ["sync"]),
        ("steelyard rollout ", ["tiny", "big"]),
        ("steelyard rollout big ", ["v7"]),
        ("steelyard rollback --strategy swap tiny v", ["v1", "v2"]),
        ("steelyard rollout tiny v2 --strategy s", ["sleep-swap", "surge", "swap"]),
        ("steelyard rollout --strategy=su", ["--strategy=surge"]),
        ("steelyard models diff llm/tiny v1 ", ["v1", "v2"]),
        ("steelyard models verify llm/tiny ", ["llm/big"]),
        ("steelyard models add llm/tiny ", []),
        ("steelyard plan -l g", ["gpu-1", "gpu-2", "gw-1", "gpu"]),
        ("steelyard plan --limit rack2:&gpu-", ["rack2:&gpu-1", "rack2:&gpu-2"]),
        ("steelyard plan --deploy d", ["dify", "dify_upgrade"]),
        ("steelyard plan --js", ["--json"]),
        ("steelyard plan --json --js", []),
        ("steelyard drift --report s", ["sarif"]),
        ("steelyard completion ", ["bash", "zsh", "fish"]),
        ("steelyard lab exec ", ["gpu-1"]),
        ("steelyard lab exec --name second ", ["gw-9"]),
        ("steelyard lab status --name s", ["second"]),
        ("steelyard nonsense ", []),
        ("steelyard nonsense plan --", ["--version", "--help"]),
        ("steelyard wheels plan vllm-cu", ["vllm-cu13"]),
    ],
)
def test_offer(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


@pytest.mark.parametrize("line", ["steelyard plan -i inv", "steelyard apply ", "steelyard plan --out=x"])
def test_files_are_left_to_the_shell(line: str) -> None:
    *words, current = line.split(" ")
    assert offer(COMMANDS, words[1:], current, NAMES).files


@pytest.mark.parametrize(
    ("line", "words", "current", "kept"),
    [
        ("steelyard plan -l ", ["steelyard", "plan", "-l"], "", ""),
        ("steelyard plan -l gpu:!gw", ["steelyard", "plan", "-l"], "gpu:!gw", "gpu:"),
        ("steelyard drift --report=ju", ["steelyard", "drift"], "--report=ju", "--report="),
        ("steelyard plan -l 'gpu:&ra", ["steelyard", "plan", "-l"], "gpu:&ra", ""),
        (r"steelyard status -l a\ b", ["steelyard", "status", "-l"], "a b", ""),
        ('steelyard models keep --why "it\\"s" m', ["steelyard", "models", "keep", "--why", 'it"s'], "m", ""),
    ],
)
def test_a_line_of_bash_is_read_as_bash_reads_it(line: str, words: list[str], current: str, kept: str) -> None:
    typed = read_bash(line)
    assert (typed.argv, typed.current, typed.kept) == (words, current, kept)


@pytest.mark.parametrize(
    ("line", "name", "answered"),
    [
        ("x ", "a;rm -rf $(b)`c`", ["a\\;rm\\ -rf\\ \\$\\(b\\)\\`c\\`"]),
        ("x '", "a;b c", ["a;b c"]),
        ("x '", "it's", []),
        ('x "', "$(b)", []),
        ("x gpu:", "gpu:!x", ["\\!x"]),
        ("x ", "two\nlines", []),
        ("x ", "a\x1b[2J", []),
    ],
)
def test_a_name_with_signs_of_the_shell_is_quoted_for_bash_or_not_offered(
    line: str, name: str, answered: list[str]
) -> None:
    assert answer_bash(Offer({name: ""}), read_bash(line)).split("\n")[1:] == answered


def test_names_with_control_characters_are_offered_to_no_shell() -> None:
    assert answer_described(Offer({"a\tb": "", "c\nd": "", "e": "host"})) == "names\ne\thost"


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory that was read once; its vault knows no secret."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("STEELYARD_INVENTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "inventories/prod"
    (path / "group_vars/all").mkdir(parents=True)
    (path / "hosts.yml").write_text("all: {children: {gpu: {hosts: {gpu-1: , gpu-2: }}}}\n")
    (path / "group_vars/all/models.yml").write_text(
        "api_key: topsecret\nmodels:\n  llm/tiny: {source: file:///x, version: v1, alias: tiny}\n"
    )
    read_fleet(path)
    return path


def test_names_are_those_of_the_inventory_while_it_is_what_it_was(inventory: Path) -> None:
    found = known_names(inventory)
    assert found.hosts == ("gpu-1", "gpu-2")
    assert "gpu" in found.groups
    assert (found.aliases, found.models) == ({"tiny": "llm/tiny"}, {"llm/tiny": ["v1"]})
    (inventory / "hosts.yml").write_text("all: {children: {gpu: {hosts: {gpu-1: , gpu-3: }}}}\n")
    assert known_names(inventory) == KnownNames()
    read_fleet(inventory)
    assert known_names(inventory).hosts == ("gpu-1", "gpu-3")
    assert known_names(inventory.parent / "other") == KnownNames()


def test_versions_that_hosts_hold_are_offered_too(inventory: Path) -> None:
    note_versions(inventory, [("llm/tiny", "v0"), ("llm/tiny", "v1"), ("llm/gone", "v9")], are_all=True)
    assert known_names(inventory).models == {"llm/tiny": ["v1", "v0"]}
    note_versions(inventory, [("llm/tiny", "v2")], are_all=False)
    assert known_names(inventory).models == {"llm/tiny": ["v1", "v0", "v2"]}
    note_versions(inventory, [("llm/tiny", "v2")], are_all=True)
    assert known_names(inventory).models == {"llm/tiny": ["v1", "v2"]}


def test_what_is_kept_is_private_and_holds_no_secret(inventory: Path, tmp_path: Path) -> None:
    from steelyard.inventory.known_names import note_fleet

    variables = {"models": {"llm/tiny": {"version": "v1", "alias": "hidden"}}, "api_key": "hidden-key"}
    fleet = Fleet(inventory, (FleetHost("gpu-1", ("gpu",), variables),), {"gpu": ("gpu-1",)}, frozenset({"hidden"}))
    note_fleet(fleet, "another digest")
    [kept] = (tmp_path / "cache").rglob("*.names")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "hidden" not in kept.read_text()
    assert "topsecret" not in kept.read_text()


def test_models_of_a_file_that_is_encrypted_whole_are_kept_nowhere(inventory: Path, tmp_path: Path) -> None:
    """Their names are secret too. A vault beside them, which every site has, hides no model."""
    from steelyard.inventory.ansible import encrypt_value

    password = inventory / ".vault-password"
    password.write_text("secret\n")
    (inventory / "group_vars/all/vault.yml").write_text(encrypt_value("vault_key: topsecret\n", password) + "\n")
    read_fleet(inventory)
    assert list(known_names(inventory).models) == ["llm/tiny"]
    models = inventory / "group_vars/all/models.yml"
    models.write_text(encrypt_value(models.read_text().replace("tiny", "codename"), password) + "\n")
    fleet = read_fleet(inventory)
    assert list(fleet.hosts[0].variables["models"]) == ["llm/codename"]
    note_versions(inventory, [("llm/codename", "v1")], are_all=True)
    assert known_names(inventory).hosts == ("gpu-1", "gpu-2")
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path.name for path in kept if b"codename" in path.read_bytes()] == []


def test_labs_that_nobody_may_read_have_no_names(tmp_path: Path) -> None:
    assert known_labs(tmp_path / "nowhere") == {}
    (tmp_path / "lab/hosts/gpu-1").mkdir(parents=True)
    (tmp_path / "sysctls.json").touch()
    assert known_labs(tmp_path) == {"lab": ["gpu-1"]}


def imported(*words: str) -> tuple[set[str], str]:
    """Modules that a call imports, in full and by their first part, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from steelyard.cli.main import main; main()", *words],
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:") and "|" in line]
    names = {line.rsplit("|", 1)[1].strip() for line in lines}
    return names | {name.split(".")[0] for name in names}, done.stdout


def test_a_tab_imports_nothing_that_takes_its_time(inventory: Path) -> None:
    """60 ms are few: the interpreter itself takes 20 of them; each of these libraries would take them all."""
    mods, said = imported("__complete", "bash", "steelyard status -l gpu-")
    assert said == "names\ngpu-1\ngpu-2\n"
    heavy = {
        "ansible",
        "pyinfra",
        "gevent",
        "paramiko",
        "pydantic",
        "rich",
        "huggingface_hub",
        "jinja2",
        "yaml",
        "typer",
        "click",
        "cryptography",
        "dataclasses",
        "inspect",
        "asyncio",
        "steelyard.errors",
        "steelyard.cli.program",
        "steelyard.inventory.fleet",
    }
    assert heavy & mods == set()
    bare = subprocess.run([sys.executable, "-X", "importtime", "-c", "pass"], capture_output=True, text=True).stderr
    assert len(mods) - bare.count("import time:") < 45
