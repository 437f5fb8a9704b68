"""Exit codes and refusals of the command line, before any host is touched: what stock pyinfra answers with 0."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STEELYARD = str(Path(sys.executable).parent / "steelyard")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([STEELYARD, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def site(tmp_path: Path, models: str = "models: {}\n") -> Path:
    (tmp_path / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "hosts.yml").write_text(
        "all: {children: {gpu: {hosts: {g1: {ansible_host: 127.0.0.1, ansible_port: 9}}}}}\n"
    )
    (tmp_path / "group_vars" / "all" / "models.yml").write_text(models)
    return tmp_path


@pytest.mark.parametrize("command", ["plan", "apply", "drift", "status"])
def test_missing_inventory_is_an_error(command: str, tmp_path: Path) -> None:
    done = run(command, "-i", str(tmp_path / "nope"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path}/nope: no inventory here\n  fix: ")


@pytest.mark.parametrize("command", ["plan", "apply", "drift", "status"])
def test_limit_that_matches_nothing_is_an_error(command: str, tmp_path: Path) -> None:
    done = run(command, "-i", str(site(tmp_path)), "-l", "gpus")
    assert done.returncode == 4
    assert "the pattern `gpus` matches no host; groups here: all, gpu" in done.stderr


def test_typo_in_an_option_is_usage_and_not_drift(tmp_path: Path) -> None:
    done = run("drift", "--limt", "x")
    assert done.returncode == 1
    assert "no such option: --limt" in done.stderr
    assert "fix: see `steelyard drift --help`" in done.stderr


def test_unknown_command_is_usage() -> None:
    assert run("drfit").returncode == 1


def test_error_is_json_for_machines(tmp_path: Path) -> None:
    done = run("plan", "-i", str(tmp_path / "nope"), "--json")
    assert json.loads(done.stdout)["error"] == "InventoryMissing"


def test_unknown_key_stops_before_a_connection(tmp_path: Path) -> None:
    done = run("plan", "-i", str(site(tmp_path, "models: {a: {source: file:///x, version: v1, alais: a}}\n")))
    assert done.returncode == 1
    assert "models.yml:1: unknown setting `alais` in `models.a`" in done.stderr
    assert "rename it to `alias`" in done.stderr
    assert "unreachable" not in done.stderr


def test_unreachable_host_without_a_terminal_is_told_without_a_prompt(tmp_path: Path) -> None:
    done = run("plan", "-i", str(site(tmp_path)))
    assert done.returncode == 3
    assert "error: g1: unreachable:" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_unknown_deploy_names_the_known(tmp_path: Path) -> None:
    done = run("plan", "-i", str(site(tmp_path)), "--deploy", "sit")
    assert done.returncode == 1
    assert "dify, dify_upgrade, host_remove, hosts, models, preflight, serve, site" in done.stderr


def test_init_refuses_a_full_folder(tmp_path: Path) -> None:
    done = run("init", str(tmp_path / "prod"))
    assert done.returncode == 0
    again = run("init", str(tmp_path / "prod"))
    assert again.returncode == 1
    assert "not empty; nothing was written" in again.stderr


def test_doctor_names_what_is_wrong_with_an_inventory(tmp_path: Path) -> None:
    done = run("doctor", "-i", str(tmp_path / "nope"), "--json")
    assert done.returncode == 2
    assert [finding["code"] for finding in json.loads(done.stdout)["findings"] if "Inventory" in finding["code"]] == [
        "doctor.InventoryMissing"
    ]


def test_version_and_help_end_well() -> None:
    assert run("--version").stdout.startswith("steelyard ")
    assert run("--help").returncode == 0
    assert "Commands:" in run().stdout


def test_lab_without_root_or_linux_or_a_kernel_feature_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from steelyard.errors import KernelFeatureMissing, LabNeedsLinux, LabNeedsRoot, LocalProgramMissing
    from steelyard.lab.nspawn import programs

    refused = subprocess.CompletedProcess([], 1, "", "Operation not permitted")
    with (
        monkeypatch.context() as patched,
        pytest.raises(KernelFeatureMissing, match="network bridges: Operation not permitted"),
    ):
        patched.setattr(programs.os, "geteuid", lambda: 0)
        patched.setattr(programs.shutil, "which", lambda program: "/bin/true")
        patched.setattr(programs, "run", lambda *words, **kwargs: refused)
        programs.require_machine("steelyard lab up")
    with monkeypatch.context() as patched, pytest.raises(LocalProgramMissing, match="`mmdebstrap` is not installed"):
        patched.setattr(programs.os, "geteuid", lambda: 0)
        patched.setattr(programs.shutil, "which", lambda program: None if program == "mmdebstrap" else "/bin/true")
        programs.require_machine("steelyard lab up")
    monkeypatch.setattr(programs.os, "geteuid", lambda: 1000)
    with pytest.raises(LabNeedsRoot, match="must run as root; this is user id 1000"):
        programs.require_machine("steelyard lab up")
    monkeypatch.setattr(programs.platform, "system", lambda: "Darwin")
    with pytest.raises(LabNeedsLinux):
        programs.require_machine("steelyard lab up")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1 +\n", "mine.py:1: the deploy file does not run: SyntaxError"),
        ("\nimport no_such_module\n", "mine.py:2: the deploy file does not run: ModuleNotFoundError"),
    ],
)
def test_deploy_file_that_does_not_run_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    """Run on @fake hosts through a session, because a deploy runs only where a host answers."""
    from steelyard.engine.session import Session
    from steelyard.errors import DeployBroken
    from steelyard.inventory.read import read_fleet
    from steelyard.modules.connectors.ssh import SteelyardConnector
    from steelyard.site.resolve import site_of

    deploy = tmp_path / "mine.py"
    deploy.write_text(text)
    (tmp_path / "inventory").mkdir()
    fleet = read_fleet(site(tmp_path / "inventory"))
    with Session(fleet, site_of(fleet), ("g1",), deploy, SteelyardConnector) as session:
        host = next(iter(session.state.inventory))
        host.connected = True
        with pytest.raises(DeployBroken) as caught:
            session.look()
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["ansible_port", "ssh_port"])
def test_port_that_is_none_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    site(tmp_path)
    (tmp_path / "group_vars" / "gpu.yml").write_text(f"{name}: abc\n")
    (tmp_path / "hosts.yml").write_text("all: {children: {gpu: {hosts: {g1: }}}}\n")
    done = run("plan", "-i", str(tmp_path))
    assert done.returncode == 3, "it is that host's error"
    assert f"gpu.yml:1: setting `{name}` is 'abc'; allowed: a port, 1 to 65535" in done.stderr


def test_reader_that_goes_away_leaves_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{STEELYARD} plan -i {site(tmp_path)} --json | true",
        shell=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
