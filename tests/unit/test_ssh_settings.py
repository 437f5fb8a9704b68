"""ssh's options, files and known keys as we read them, held against OpenSSH's own programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from steelyard.errors import ConnectionNotSupported, SshConfigUnreadable
from steelyard.inventory.home_folders import home_folder
from steelyard.inventory.known_hosts import KnownKeys
from steelyard.inventory.ssh_arguments import SshOption, options_in
from steelyard.inventory.ssh_options import HONOURED, IRRELEVANT, REFUSED
from steelyard.modules.connectors import ssh_settings
from steelyard.modules.connectors.frames import after_greeting, greeting
from steelyard.modules.connectors.ssh_settings import hop_of, settings_of

CONFIG = """
Include {folder}/included
Host g1 g2
  Port 2222
  User first
  ProxyJump gate
Host *
  User second
  StrictHostKeyChecking accept-new
  SetEnv TERM=xterm
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "included").write_text("Match host g2\n  HostName 192.0.2.2\n")
    return path


@pytest.fixture
def key(tmp_path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(tmp_path / "rsa")], check=True)
    return " ".join((tmp_path / "rsa.pub").read_text().split()[:2])


def test_every_option_that_ssh_prints_is_in_the_table() -> None:
    printed = subprocess.run(
        ["ssh", "-G", "-F", "none", "localhost"], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split(" ")[0].lower() for line in printed.splitlines()}
    assert len(names) > 60
    assert sorted(names - HONOURED - IRRELEVANT.keys() - REFUSED.keys()) == []
    assert not HONOURED & IRRELEVANT.keys()
    assert not REFUSED.keys() & (HONOURED | IRRELEVANT.keys())


@pytest.mark.parametrize("host", ["g1", "g2", "g3"])
def test_a_file_of_ssh_is_read_as_ssh_reads_it(config: Path, host: str) -> None:
    options = (SshOption("user", "asked"),) if host == "g3" else ()
    ours = settings_of("g", host, options, str(config))
    argv = ["ssh", "-G", "-F", str(config), *(["-l", "asked"] if options else []), host]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    printed = dict(line.split(" ", 1) for line in lines if " " in line)
    assert (ours.hostname, str(ours.port), ours.user) == (printed["hostname"], printed["port"], printed["user"])
    assert ours.hops == ([printed["proxyjump"]] if "proxyjump" in printed else [])
    assert ours.strictness == printed["stricthostkeychecking"] == "accept-new"


def test_no_program_runs_where_files_say_nothing_of_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian's own /etc/ssh/ssh_config: thousands of hosts shall not cost thousands of processes."""
    path = tmp_path / "config"
    path.write_text("Host *\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n    GSSAPIAuthentication yes\n")
    monkeypatch.setenv("PATH", str(tmp_path))  # no ssh to be found
    assert settings_of("g1", "g1", options_in("-p 2222"), str(path)).port == 2222
    path.write_text("Host *\n  Port 2222\n")
    with pytest.raises(SshConfigUnreadable, match="ssh, which reads its own files, is not installed"):
        settings_of("g1", "g1", (), str(path))


def test_a_file_that_ssh_cannot_read_is_told_in_its_words(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("Host *\n  Prot 22\n")
    with pytest.raises(SshConfigUnreadable, match="line 2: Bad configuration option: prot"):
        settings_of("g1", "g1", (), str(path))


def test_a_file_that_asks_for_what_we_cannot_do_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("Host *\n  RemoteForward 3128 proxy:3128\n")
    with pytest.raises(ConnectionNotSupported, match="remoteforward 3128"):
        settings_of("g1", "g1", (), str(path))


@pytest.mark.parametrize(
    ("hop", "parts"),
    [
        ("gate", ("gate", {})),
        ("ops@gate:2222", ("gate", {"user": "ops", "port": "2222"})),
        ("ssh://ops@gate:2222", ("gate", {"user": "ops", "port": "2222"})),
        ("[2001:db8::1]:22", ("2001:db8::1", {"port": "22"})),
        ("2001:db8::1", ("2001:db8::1", {})),
    ],
)
def test_a_hop_is_a_host_with_a_user_and_a_port(hop: str, parts: tuple[str, dict[str, str]]) -> None:
    address, options = hop_of(hop)
    assert (address, {option.name: option.value for option in options}) == parts


@pytest.mark.parametrize(
    ("line", "name", "port"),
    [
        ("g1,192.0.2.1 {key}", "192.0.2.1", 22),
        ("192.0.2.* {key}", "192.0.2.1", 22),
        ("192.0.2.?,!192.0.2.1 {key}", "192.0.2.1", 22),
        ("[192.0.2.1]:2222 {key}", "192.0.2.1", 2222),
        ("192.0.2.1 {key}", "192.0.2.1", 2222),
        ("G1.Example {key} a comment", "g1.example", 22),
        ("# g1 {key}", "g1", 22),
    ],
)
def test_names_of_known_hosts_mean_what_they_mean_to_openssh(
    tmp_path: Path, key: str, line: str, name: str, port: int
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(line.format(key=key) + "\n")
    asked = name if port == 22 else f"[{name}]:{port}"
    finding = subprocess.run(["ssh-keygen", "-F", asked, "-f", str(file)], capture_output=True)
    assert bool(KnownKeys(name, [str(file)], port)) == (finding.returncode == 0)


def test_hashed_names_several_files_and_marks(tmp_path: Path, key: str) -> None:
    hashed, marked = tmp_path / "hashed", tmp_path / "marked"
    hashed.write_text(f"g1 {key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(hashed)], check=True, capture_output=True)
    marked.write_text(f"@revoked g1 {key}\n@cert-authority * {key}\nbroken line\n")
    known = KnownKeys("g1", ["/not/there", str(hashed)])
    assert known.algorithms() == ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]
    [[recorded]] = known.keys_by_kind.values()
    both = KnownKeys("g1", [str(hashed), str(marked)])
    assert (known.is_revoked(recorded), both.is_revoked(recorded), both.algorithms()) == (False, True, [])
    assert not KnownKeys("g2", [str(hashed), str(marked)])


@pytest.mark.parametrize("before", ["", "Welcome\nand more\n", "no end of line", "steelyard-x^ almost\n"])
def test_what_login_files_print_is_passed_over(before: str) -> None:
    said = subprocess.run(["sh"], input=greeting("steelyard-x") + "echo first", capture_output=True, text=True).stdout
    lines = (before + said).encode().splitlines()
    assert list(after_greeting(iter(lines), "steelyard-x")) == [b"first"]
    assert list(after_greeting(iter(before.encode().splitlines()), "steelyard-x")) == []


def test_the_home_of_ssh_is_that_of_the_users_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere/else")
    settings, home = ssh_settings.SshSettings("g1", "", {}), home_folder()
    assert settings.expand("~/x") == f"{home}/x"
    # and where HOME is another, as in a CI runner's container, what a job wrote there holds too
    assert settings.known_hosts[:2] == ["/somewhere/else/.ssh/known_hosts", f"{home}/.ssh/known_hosts"]
    assert settings.identity_files[:2] == ["/somewhere/else/.ssh/id_rsa", f"{home}/.ssh/id_rsa"]
    named = ssh_settings.SshSettings("g1", "", {"userknownhostsfile": ["/k"], "identityfile": ["/id"]})
    assert (named.known_hosts[0], named.identity_files) == ("/k", ["/id"])
