"""Ansible's connection variables, held against ansible-core itself: its documentation of them, and the command line
that it makes of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from steelyard.inventory.connection import connection_data, connection_problems
from steelyard.inventory.connection_variables import NAMES, VARIABLES
from steelyard.inventory.fleet import Fleet, FleetHost
from steelyard.inventory.home_folders import home_folder
from steelyard.inventory.read import read_fleet
from steelyard.inventory.ssh_arguments import files_in
from steelyard.modules.connectors.become import become_of
from steelyard.modules.connectors.login import asked_of
from steelyard.modules.connectors.ssh_settings import settings_of

NOT_VARIABLES = {"inventory_hostname", "delegated_vars['ansible_host']", "delegated_vars['ansible_ssh_host']"}
# said by no plugin's documentation, because Ansible reads them before it has a plugin
OF_NO_PLUGIN = {"ansible_connection", "ansible_become", "ansible_become_method"}
# host -> its variables: what ssh would be told by Ansible, and what we would do, have to be one
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"ansible_host": "192.0.2.1"},
    "older-names": {"ansible_ssh_host": "192.0.2.2", "ansible_ssh_user": "ops", "ansible_ssh_port": 2201},
    "both-names": {"ansible_host": "a", "ansible_ssh_host": "b", "ansible_port": 21, "ansible_ssh_port": 22022},
    "both-users": {"ansible_ssh_user": "older", "ansible_user": "newer"},
    "both-keys": {"ansible_private_key_file": "/k1", "ansible_ssh_private_key_file": "/k2"},
    "key-with-space": {"ansible_private_key_file": "/keys of mine/id"},
    "port-in-args": {"ansible_ssh_args": "-p 2210", "ansible_port": 2211},
    "port-glued": {"ansible_ssh_args": "-4Cp2212"},
    "port-after": {"ansible_port": 2213, "ansible_ssh_common_args": "-p 2214"},
    "port-common": {"ansible_ssh_common_args": "-oPort=2215", "ansible_ssh_extra_args": "-p 2216"},
    "user-in-args": {"ansible_ssh_args": "-l first", "ansible_user": "second"},
    "user-in-address": {"ansible_host": "third@192.0.2.3"},
    "user-beats-address": {"ansible_host": "third@192.0.2.3", "ansible_user": "second"},
    "equals": {"ansible_ssh_common_args": "-o 'Port = 2217' -o 'User =ops'"},
    "words": {"ansible_ssh_common_args": "-o 'Port 2218' -o \"HostKeyAlias other\""},
    "strict-first": {"ansible_ssh_args": "-o StrictHostKeyChecking=yes", "ansible_host_key_checking": False},
    "strict-then-no": {"ansible_ssh_common_args": "-oStrictHostKeyChecking=yes -o StrictHostKeyChecking=no"},
    "accept-new": {"ansible_ssh_common_args": "-o 'StrictHostKeyChecking accept-new'"},
    "unchecked": {"ansible_ssh_host_key_checking": False, "ansible_ssh_common_args": "-o StrictHostKeyChecking=yes"},
    "known-files": {"ansible_ssh_common_args": "-o 'UserKnownHostsFile=/a /b' -o 'GlobalKnownHostsFile /c'"},
    "known-quoted": {"ansible_ssh_common_args": "-o 'UserKnownHostsFile \"/a b\" /c'"},
    "several-keys": {
        "ansible_ssh_common_args": "-i /etc/hostname -o IdentityFile=/k2",
        "ansible_private_key_file": "/k0",
    },
    "jump": {"ansible_ssh_common_args": "-J ops@192.0.2.9:2222,192.0.2.10"},
    "jump-none": {"ansible_ssh_common_args": "-J none"},
    "jump-then-command": {"ansible_ssh_common_args": "-o ProxyJump=one -o 'ProxyCommand=nc %h %p'"},
    "command-then-jump": {"ansible_ssh_args": "-o 'ProxyCommand=nc %h %p'", "ansible_ssh_common_args": "-oProxyJump=x"},
    "none-then-command": {"ansible_ssh_common_args": "-o ProxyJump=none -o 'ProxyCommand nc %h %p'"},
    "command-equals": {"ansible_ssh_common_args": "-o 'ProxyCommand = ssh -W \"%h:%p\" gate'"},
    "only-keys": {"ansible_ssh_common_args": "-o IdentitiesOnly=yes -o PubkeyAuthentication=no"},
    "empty-args": {"ansible_ssh_args": "", "ansible_ssh_common_args": ""},
    "family": {"ansible_ssh_extra_args": "-6 -b ::1"},
}
BIN = Path(sys.executable).parent


def documented(kind: str, name: str) -> set[str]:
    argv = [str(BIN / "ansible-doc"), "-t", kind, "--json", name]
    document = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    options = document[name]["doc"]["options"].values()
    return {variable["name"] for option in options for variable in option.get("vars", ())}


def test_every_variable_that_ansible_core_documents_is_in_the_table() -> None:
    every = documented("connection", "ssh") | documented("become", "sudo") | documented("become", "su")
    assert len(every) > 50, "the documentation was not read"
    assert sorted(every - NAMES - NOT_VARIABLES) == [], "say in the table what becomes of it"
    assert sorted(NAMES - every - OF_NO_PLUGIN) == [], "ansible-core knows it no more"


def test_no_variable_stands_in_the_table_twice() -> None:
    names = [name for variable in VARIABLES for name in variable.names]
    assert len(names) == len(set(names))
    assert all(variable.what for variable in VARIABLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory of all variants after one run of Ansible, whose ssh wrote down what OpenSSH makes of it all."""
    folder = tmp_path_factory.mktemp("ansible")
    hosts = {}
    for name, variables in VARIANTS.items():
        program = folder / name / "ssh"
        program.parent.mkdir()
        # no configuration of this machine: what Ansible says is compared, and nothing else
        program.write_text('#!/bin/sh\nssh -G -F none "$@" >"${0%/ssh}/told" 2>&1\nexit 255\n')
        program.chmod(0o755)
        hosts[name] = {**variables, "ansible_ssh_executable": str(program)}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    argv = [str(BIN / "ansible"), "-i", str(folder / "hosts.yml"), "all", "-f", "4", "-m", "raw", "-a", "true"]
    subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL)
    return folder


@pytest.mark.parametrize("name", VARIANTS)
def test_a_connection_is_what_ssh_makes_of_ansibles_command_line(folder: Path, name: str) -> None:
    fleet = read_fleet(folder / "hosts.yml")
    host = fleet.host(name)
    assert connection_problems(fleet, host) == []
    openssh: dict[str, list[str]] = {}
    for line in (folder / name / "told").read_text().splitlines():
        option, _, value = line.partition(" ")
        openssh.setdefault(option, []).append(value)
    address, options = asked_of(name, connection_data(host))
    ours = settings_of(name, address, options, "none")
    assert (ours.hostname, str(ours.port), ours.user) == (
        openssh["hostname"][0],
        openssh["port"][0],
        openssh["user"][0],
    )
    asked = openssh["stricthostkeychecking"][0]
    assert ours.strictness == {"ask": "yes", "true": "yes", "false": "off"}.get(asked, asked)
    for option in ("userknownhostsfile", "globalknownhostsfile"):  # ssh prints them without quotes
        assert " ".join(map(ours.expand, files_in(ours.one(option)))) == openssh[option][0].replace("~", home_folder())
    for option in ("proxyjump", "proxycommand", "hostkeyalias", "bindaddress"):
        value = ours.one(option)
        openssh[option] = [said.replace("[", "").replace("]", "") for said in openssh.get(option, [""])]
        assert ("" if value == "none" else value) == openssh.get(option, [""])[0], option
    for option, usual in (("identitiesonly", "no"), ("pubkeyauthentication", "true"), ("addressfamily", "any")):
        value = ours.one(option) or usual
        assert {"no": "false"}.get(value, value) == {"no": "false"}.get(openssh[option][0], openssh[option][0]), option
    if ours.values.get("identityfile"):
        assert sorted(ours.values["identityfile"]) == sorted(openssh["identityfile"])


@pytest.mark.parametrize(
    ("variables", "name", "words"),
    [
        ({"ansible_ssh_common_args": "-o 'ProxyJump=x"}, "ansible_ssh_common_args", "no closing quotation"),
        ({"ansible_ssh_args": "-o Prot=22"}, "ansible_ssh_args", "ssh knows no such option"),
        ({"ansible_ssh_extra_args": "gate -p 22"}, "ansible_ssh_extra_args", "ssh would take it for the host"),
        ({"ansible_ssh_extra_args": "-p many"}, "ansible_ssh_extra_args", "a port is 1 to 65535"),
        ({"ansible_ssh_extra_args": "-o Port"}, "ansible_ssh_extra_args", "an option and its value are needed"),
        ({"ansible_ssh_args": "-J a", "ansible_ssh_extra_args": "-J b"}, "ansible_ssh_common_args", "ssh takes one"),
        ({"ansible_ssh_extra_args": "-R 8080:localhost:80"}, "ansible_ssh_extra_args", "no port of a host"),
        ({"ansible_ssh_extra_args": "-o 'RemoteCommand=top'"}, "ansible_ssh_extra_args", "the session is needed"),
        ({"ansible_ssh_pkcs11_provider": "/lib/x.so"}, "ansible_ssh_pkcs11_provider", "smart card"),
        ({"ansible_ssh_private_key": "-----BEGIN"}, "ansible_ssh_private_key", "read from a file"),
        ({"ansible_ssh_executable": "/opt/teleport/tsh"}, "ansible_ssh_executable", "no program stands between"),
        ({"ansible_connection": "winrm"}, "ansible_connection", "hosts are reached by SSH"),
        ({"ansible_become": True, "ansible_become_method": "pbrun"}, "ansible_become_method", "one of sudo, su, doas"),
        ({"ansible_port": "ssh"}, "ansible_port", "a port, 1 to 65535"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_of_its_host(variables: dict[str, Any], name: str, words: str) -> None:
    host, other = FleetHost("g1", (), variables), FleetHost("g2", (), {})
    fleet = Fleet(Path("hosts.yml"), (host, other), {})
    [problem] = connection_problems(fleet, host)
    assert f"`{name}`" in str(problem)
    assert words in str(problem)
    assert connection_problems(fleet, other) == []
    connection_data(host)  # and nothing is raised for the others


def test_a_secret_that_is_refused_is_not_shown() -> None:
    host = FleetHost("g1", (), {"ansible_ssh_private_key_passphrase": "open sesame"})
    [problem] = connection_problems(Fleet(Path("hosts.yml"), (host,), {}), host)
    assert "sesame" not in str(problem) + problem.remedy


@pytest.mark.parametrize(
    ("variables", "command"),
    [
        ({}, "exec sudo -H -n sh"),
        ({"ansible_become_user": "dify"}, "exec sudo -H -n -u dify sh"),
        ({"ansible_become_user": "x", "ansible_sudo_user": "y"}, "exec sudo -H -n -u y sh"),
        ({"ansible_become_flags": "-H -S -n -E"}, "exec sudo -H -E -n sh"),
        ({"ansible_become_flags": "-HSni"}, "exec sudo -Hi -n sh"),
        ({"ansible_become_flags": ""}, "exec sudo -H -n sh"),
        ({"ansible_sudo_chdir": "/a b"}, "cd '/a b' && exec sudo -H -n sh"),
        ({"ansible_become_exe": "/opt/sudo"}, "exec /opt/sudo -H -n sh"),
        ({"ansible_become_method": "su"}, "exec env LC_ALL=C su root -c 'exec sh'"),
        (
            {
                "ansible_become_method": "su",
                "ansible_su_user": "dify",
                "ansible_su_flags": "-",
                "ansible_sudo_user": "x",
            },
            "exec env LC_ALL=C su - dify -c 'exec sh'",
        ),
        ({"ansible_become_method": "doas", "ansible_become_user": "dify"}, "exec doas -n -u dify sh"),
    ],
)
def test_another_user_is_become_as_the_variables_say(variables: dict[str, Any], command: str) -> None:
    data = connection_data(FleetHost("g1", (), {"ansible_become": True, **variables}))
    login = f"sudo -H -n -u {data['_sudo_user']} " if "_sudo_user" in data else "sudo -H -n "
    assert " ".join(become_of(data).command(login, "sh").split()) == command
