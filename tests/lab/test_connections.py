"""Ways to a host, held against ansible-core: whom it becomes where, and where it is refused, so are we, by a sentence.

One run of each over the variants, as hosts of one inventory: some always, and of the others a share each day in turn;
all of them with STEELYARD_CONNECTIONS=all. Classes of errors that are provoked here: BecomeRefused,
ConnectionNotSupported, HostKeyRevoked, SshConfigUnreadable.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from support.connection_variants import LEFT_HERE, MORE_HERE, ON_TARGET, Places, usual, variants
from support.lab_site import BIN, Site, steelyard

from steelyard.lab.nspawn.record import require_lab

NAME = os.environ.get("STEELYARD_HANDS_LAB", "connections")
ALL = os.environ.get("STEELYARD_CONNECTIONS") == "all"
TURNS = 6  # days until each variant had its turn
ALWAYS = ("plain", "noisy", "unended", "asked", "su", "hop", "config")  # of which something more is asked below
TARGET, HOP = "gw-1", "mirror-1"
ERRORS = {  # what is said where Ansible is refused; of the others that they are errors at all
    "only-revoked": "HostKeyRevoked",
    "unknown": "HostKeyUnknown",
    "strict-first": "HostKeyUnknown",
    "wrong-key": "HostKeyChanged",
    "no-key": "LoginRefused",
    "wrong-password": "LoginRefused",
    "wrong-port": "HostUnreachable",
    "dead-command": "HostUnreachable",
    "broken-config": "SshConfigUnreadable",
    "no-config": "SshConfigUnreadable",
    "asked-wrong": "SudoPasswordWrong",
    "asked-without": "SudoRefused",
    "not-allowed": "SudoRefused",
    "su-wrong": "BecomeRefused",
    "quote": "SettingWrong",
    "no-option": "SettingWrong",
    **LEFT_HERE,
}
WHO = """
import json
import os
from pyinfra.api import FactBase
from pyinfra.context import host

class Login(FactBase):
    def command(self):
        return 'echo "login=$(id -un) from=${SSH_CONNECTION%% *}"'
    def process(self, output):
        return list(output)

class Became(Login):
    def command(self):
        return 'echo "became=$(id -un)"'

for fact, arguments in ((Login, {"_sudo": False}), (Became, {})):
    answer = host.get_fact(fact, **arguments)
    with open(os.environ["WHO"], "a") as file:
        file.write(json.dumps([host.name, answer]) + "\\n")
"""


class Reached(NamedTuple):
    """Who the login is and where it comes from, and whom it becomes; None where it was refused."""

    login: str | None
    became: str | None


class Answers(NamedTuple):
    """What each tool found of each variant, and the class of the error where ours was refused."""

    ansible: dict[str, Reached]
    ours: dict[str, Reached]
    errors: dict[str, str]
    traffic: dict[str, tuple[int, int]]  # connections, channels


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("connections")
    folder.chmod(0o755)
    steelyard("lab", "down", "--name", NAME)  # of a run that was killed
    up = steelyard("lab", "up", "2", "--name", NAME, "--inventory", str(folder / "lab"))
    assert up.returncode == 0, up.stderr
    site = Site(require_lab(NAME, NAME), folder / "lab")
    try:
        site.sh(TARGET, ON_TARGET)
        paths = site.lab.paths
        yield Places(
            folder,
            site.address(TARGET),
            site.address(HOP),
            paths.key,
            paths.known_hosts,
            lambda text: site.sh(TARGET, text),
        )
    finally:
        assert steelyard("lab", "down", "--name", NAME).returncode == 0


@pytest.fixture(scope="module")
def answers(places: Places) -> Answers:
    hosts = {name: {**usual(places), **changed} for name, changed in of_today(variants(places)).items()}
    inventory = places.folder / "hosts.yml"
    said = {name: {key: value for key, value in host.items() if value is not None} for name, host in hosts.items()}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": said}}))
    login, became = _ansible(inventory)
    ansible = {name: Reached(login.get(name), became.get(name)) for name in hosts}
    return Answers(ansible, *_ours(inventory, places.folder))


def of_today(every: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The variants whose turn it is."""
    rotating = [name for name in every if name not in ALWAYS]
    chosen = {*ALWAYS, *(rotating if ALL else rotating[date.today().toordinal() % TURNS :: TURNS])}
    return {name: changed for name, changed in every.items() if name in chosen}


def _ansible(inventory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What Ansible's logins say, and what those say whom they become."""
    # no shared connections: a variant would be reached over another's
    environment = {**os.environ, "ANSIBLE_SSH_ARGS": "-C", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_TIMEOUT": "20"}
    found = []
    for question, words in (
        ('echo "login=$(id -un) from=${SSH_CONNECTION%% *}"', ["-e", '{"ansible_become": false}']),
        ('echo "became=$(id -un)"', []),
    ):
        argv = [str(BIN / "ansible"), "-i", str(inventory), "all", "-f", "6", "-m", "raw", "-a", question, *words]
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        blocks = re.split(r"^(\S+) \| (?:CHANGED|FAILED|UNREACHABLE!?)", done.stdout, flags=re.M)[1:]
        answers = {}
        for name, block in zip(blocks[::2], blocks[1::2], strict=True):
            told = re.search(r"(login=\S+ from=[\d.]+|became=\w+)", block)
            if told is not None and "rc=0" in block:
                answers[name] = told[1]
        found.append(answers)
    return found[0], found[1]


def _ours(inventory: Path, folder: Path) -> tuple[dict[str, Reached], dict[str, str], dict[str, tuple[int, int]]]:
    deploy, who = folder / "who.py", folder / "who"
    deploy.write_text(WHO)
    done = steelyard("plan", "-i", str(inventory), "--deploy", str(deploy), "--json", WHO=str(who))
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    answers: dict[str, list[str]] = {}
    for name, lines in map(json.loads, who.read_text().splitlines()):
        answers.setdefault(name, []).append("\n".join(lines))
    hosts = {host["host"]: host for host in json.loads(done.stdout)["hosts"]}
    reached = {name: Reached(*[*answers.get(name, []), None, None][:2]) for name in hosts}
    errors = {name: host["error"]["error"] for name, host in hosts.items() if host["error"]}
    traffic = {name: (host["ssh"]["connections"], host["ssh"]["channels"]) for name, host in hosts.items()}
    return reached, errors, traffic


def test_hosts_are_reached_as_ansible_reaches_them(answers: Answers) -> None:
    compared = [name for name in answers.ansible if name not in LEFT_HERE and name not in MORE_HERE]
    assert len(compared) >= (30 if ALL else len(ALWAYS))
    differing = {
        name: (answers.ansible[name], answers.ours[name], answers.errors.get(name))
        for name in compared
        if answers.ansible[name] != answers.ours[name]
    }
    assert differing == {}
    reached = [name for name in compared if answers.ansible[name].became]
    assert len(reached) >= (25 if ALL else len(ALWAYS)), "they were reached at all"


def test_what_is_refused_says_why_by_its_class(answers: Answers) -> None:
    refused = {name for name, reached in answers.ours.items() if reached.became is None}
    expected = {name: kind for name, kind in ERRORS.items() if name in answers.ours}
    assert {name: answers.errors.get(name) for name in refused} == expected


def test_what_ansible_reaches_and_we_do_not_is_refused_by_name(answers: Answers) -> None:
    left = [name for name in LEFT_HERE if name in answers.ansible]
    assert {name: answers.ansible[name].became for name in left} == dict.fromkeys(left, "became=root")


def test_a_hop_is_offered_the_hosts_key_too(answers: Answers) -> None:
    """ssh offers it what its own files say, and here they say nothing."""
    for name in MORE_HERE & set(answers.ours):
        assert (answers.ansible[name].login, answers.ours[name].became) == (None, "became=root")


def test_hops_are_gone_through(answers: Answers, places: Places) -> None:
    goes_through = {
        **dict.fromkeys(("hop", "hop-option", "hop-of-config", "command", "command-before-hop"), places.hop),
        "two-hops": places.target,
    }
    for name in set(goes_through) & set(answers.ours):
        assert str(answers.ours[name].login).endswith(f"from={goes_through[name]}"), name
    for name in {"plain", "hop-none"} & set(answers.ours):
        assert not str(answers.ours[name].login).endswith(f"from={places.hop}"), name


def test_a_host_costs_one_connection_and_one_channel_for_each_user(answers: Answers) -> None:
    assert {
        name: answers.traffic[name] for name in ("plain", "noisy", "asked", "su", "hop", "config")
    } == dict.fromkeys(("plain", "noisy", "asked", "su", "hop", "config"), (1, 2))


def test_a_file_gets_to_a_host_whose_login_files_print(places: Places, answers: Answers) -> None:
    """OpenSSH's sftp-server is started by the login shell, so what that prints is no SFTP; Ansible goes by a pipe."""
    deploy = places.write(
        "upload.py",
        "import io\nfrom pyinfra.context import host\nfrom pyinfra.operations import files\n"
        "files.put(name='Put', src=io.BytesIO(bytes(range(256)) * 999), dest='/opt/' + host.name)\n",
    )
    limit = ("-l", "noisy,unended,su")
    done = steelyard("apply", "-i", str(places.folder / "hosts.yml"), "--yes", "--deploy", str(deploy), *limit)
    assert done.returncode == 0, done.stdout + done.stderr
    again = steelyard("plan", "-i", str(places.folder / "hosts.yml"), "--deploy", str(deploy), *limit)
    assert again.returncode == 0, again.stdout + again.stderr
